package console

import (
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/docs"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *server) docsRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/docs/errors/{code}", ID: "getErrorPage", Right: access.Public,
		Summary:  "What an error code means, and the way out",
		Doc:      "The type of every problem is such an address.",
		Params:   []param{{Name: "code", In: "path", Doc: "the code"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: textType, Doc: "Its lines of the reference"}},
		Problems: []int{404},
		Serve:    s.getErrorPage,
	}}
}

// getErrorPage answers the rows of docs/reference/errors.md whose first cell
// names the code.
func (s *server) getErrorPage(w http.ResponseWriter, r *http.Request, _ values) error {
	code := r.PathValue("code")
	var page strings.Builder
	var head []string
	for line := range strings.Lines(docs.Errors) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) < 3:
		case cells[0] == "code":
			head = cells
		case strings.Contains(cells[0], "`"+code+"`"):
			page.WriteString(code + "\n")
			for i := 1; i < len(cells) && i < len(head); i++ {
				if cells[i] != "" {
					page.WriteString("  " + head[i] + ": " + strings.ReplaceAll(cells[i], "`", "") + "\n")
				}
			}
		}
	}
	if page.Len() == 0 {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "there is no error " + shown(code), Hint: "docs/reference/errors.md lists all"}
	}
	return s.text(w, textType, page.String())
}
