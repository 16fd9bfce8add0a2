package console

import (
	"net/http"

	"github.com/meterseal/meterseal/docs"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *server) docsRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/docs/errors/{code...}", ID: "getErrorPage", Right: access.Public,
		Summary:  "What an error code means, and the way out",
		Doc:      "The type of every problem is such an address. A browser gets a page.",
		Params:   []param{{Name: "code", In: "path", Doc: "the code; it may have a slash"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: textType, Doc: "What happened, who puts it right, and what to do, as Markdown"}},
		Problems: []int{404},
		Serve:    s.getErrorPage,
	}}
}

// getErrorPage answers the page of an error code as it was written.
func (s *server) getErrorPage(w http.ResponseWriter, r *http.Request, _ values) error {
	code := r.PathValue("code")
	page, ok := docs.Error(code)
	if !ok {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "there is no error " + shown(code), Hint: "docs/reference/errors.md lists all"}
	}
	return s.text(w, textType, page.Text)
}
