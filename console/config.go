package console

import (
	"net/http"

	"github.com/meterseal/meterseal/internal/access"
)

// Config is the answer of GET /v1/config: what the daemon was told, without
// secrets.
type Config struct {
	File     string          `json:"file,omitempty" doc:"the configuration file; absent: none was given"`
	Settings []ConfigSetting `json:"settings" nullable:"false" doc:"every plain key"`
	Lists    []ConfigItem    `json:"lists" nullable:"false" doc:"meters, pools of seats and whatever else is declared as a list"`
}

// ConfigSetting is a setting in force, and where it came from.
type ConfigSetting struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	From     string `json:"from" doc:"file:line:column, the variable, the flag, or default"`
	Default  string `json:"default,omitempty"`
	Changed  bool   `json:"changed" doc:"it was given, and is not the default"`
	Secret   bool   `json:"secret,omitempty" doc:"the value is not shown"`
	Reread   bool   `json:"reread,omitempty" doc:"SIGHUP reads the file again; everything else needs a restart"`
	Variable string `json:"variable" doc:"environment variable that sets it"`
	Flag     string `json:"flag" doc:"flag that sets it"`
	Doc      string `json:"doc" doc:"what it means"`
}

// ConfigItem is one element of a list of the configuration.
type ConfigItem struct {
	Kind  string `json:"kind" doc:"meter, seats, variable"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (s *server) configRoutes() []route {
	if s.Config == nil {
		return nil
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/config", ID: "getConfig", Right: access.Read,
		Summary: "Every setting in force, and where it came from",
		Doc:     "Secrets are left out: of files with them the path is shown. Nothing can be changed here.",
		Answers: []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "In the order of the documentation", Of: Config{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			return s.answer(w, http.StatusOK, s.Config())
		},
	}}
}
