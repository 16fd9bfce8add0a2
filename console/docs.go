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
	for _, row := range docs.ErrorRows(code) {
		page.WriteString(code + "\n")
		for _, c := range row {
			page.WriteString("  " + c.Head + ": " + strings.ReplaceAll(c.Text, "`", "") + "\n")
		}
	}
	if page.Len() == 0 {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "there is no error " + shown(code), Hint: "docs/reference/errors.md lists all"}
	}
	return s.text(w, textType, page.String())
}
