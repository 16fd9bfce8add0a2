package console

import (
	"errors"
	"net/http"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
)

// The parts of the table, as package httpapi has them.
type (
	route   = httpapi.Route[access.Right]
	param   = httpapi.Param
	content = httpapi.Content
	values  = httpapi.Values
)

func (s *server) routes() []route {
	var list []route
	for _, group := range [...]func() []route{s.eventRoutes, s.openMeterRoutes, s.sessionRoutes, s.seatRoutes, s.variableRoutes, s.usageRoutes, s.statusRoutes, s.rejectedRoutes, s.tailRoutes, s.findRoutes, s.allowRoutes, s.licenseRoutes, s.reportRoutes, s.ledgerRoutes, s.exportRoutes, s.nodeRoutes, s.meterRoutes, s.configRoutes, s.tokenRoutes, s.operatorRoutes, s.docsRoutes, s.checkRoutes, s.healthRoutes} {
		list = append(list, group()...)
	}
	return list
}

// table serves and describes the routes.
func (s *server) table() *httpapi.Table[access.Right] {
	return &httpapi.Table[access.Right]{
		Routes: s.routes(),
		Permit: s.permit,
		Refuse: func(w http.ResponseWriter, r *http.Request, err error) { s.refuse(w, r, problemOf(err)) },
		Docs: httpapi.Docs{
			Title: "Meterseal site", Version: s.Version,
			Description: "Usage events in; numbers, checkpoints and reports out. Within v1 fields are only added. Refusals are problem details (RFC 9457) with code, message and hint.",
			Tokens:      "A token with the right that the operation names. On the machine of the daemon none is needed, unless http.loopback is token.",
			Problem:     Problem{},
			Usual:       []int{http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusTooManyRequests, http.StatusInternalServerError},
			Public:      func(right string) bool { return right == string(access.Public) },
		},
	}
}

// readBody returns the body, unpacked. What is beyond the cap is an error with
// the beginning of it.
func readBody(r *http.Request) ([]byte, error) {
	data, err := httpapi.ReadBody(r, MaxBodyBytes)
	var slow *httpapi.Error
	if errors.As(err, &slow) && slow.Status == http.StatusRequestTimeout {
		slow.Hint = "send it again, with fewer events at a time if the line is slow"
	}
	return data, err
}
