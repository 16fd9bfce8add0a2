package clients_test

import (
	"os"
	"strings"
	"testing"
)

// Every snippet of docs/how-to/publishing.md is a part of the example that it names, line
// by line, but for the indentation: what people copy from the page is what was
// tested.
func TestSnippets(t *testing.T) {
	const page = "../../docs/how-to/publishing.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split("\n"+string(text), "\n```")
	if len(blocks)%2 == 0 || len(blocks) < 3 {
		t.Fatalf("%s has %d fences, want pairs of them", page, len(blocks)-1)
	}
	for i := 1; i < len(blocks); i += 2 {
		head, body, _ := strings.Cut(blocks[i], "\n")
		_, file, named := strings.Cut(head, " ")
		if !named {
			t.Errorf("snippet %q names no file; want ```LANGUAGE FILE", blocks[i])
			continue
		}
		if strings.Contains(file, "/") { // from the root of the repository
			file = "../../" + file
		}
		example, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(flat(string(example)), flat(body)) {
			t.Errorf("%s is not in %s:\n%s", head, file, body)
		}
	}
}

// flat takes the indentation out of a text, and puts every line between breaks.
func flat(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}
