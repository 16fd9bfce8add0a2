package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The published document has every operation of a daemon that runs, and no other.
func TestPublishedOpenAPI(t *testing.T) {
	dir := t.TempDir()
	s := &sessionSite{t: t, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "meterseal.yaml")}
	s.write("meterseal.yaml", "store: {max_size: 1GiB}\nmeters:\n  - {id: render.pages, aggregation: sum}\n")
	s.start()
	defer s.end()
	resp, err := http.Get(s.http + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	served, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	published, err := os.ReadFile("../../docs/reference/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(operationsOf(t, published), operationsOf(t, served)); diff != "" {
		t.Errorf("operations (-docs/reference/openapi.json +daemon):\n%s", diff)
	}
}

// operationsOf lists method and path of an OpenAPI document.
func operationsOf(t *testing.T, document []byte) (list []string) {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			list = append(list, method+" "+path)
		}
	}
	slices.Sort(list)
	return list
}
