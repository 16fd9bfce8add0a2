package meter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
)

// variableWait bounds the wait for the answer about a variable.
const variableWait = 5 * time.Second

// SetVariable tells the vendor something about this node: a device variable, which
// the record of the next start of the daemon and that of the deactivation carry.
// It is kept under the node's name, "node.name", until another value replaces it;
// an empty value forgets it. When SetVariable returns it is on the daemon's disk.
//
// Variables leave the site at every usage level: do not put names of people into
// them. There is room for few of them (docs/how-to/publishing.md).
//
// Errors: [ErrUnreachable]; *[events.Error] for a name or value that is wrong, or
// one for which there is no room.
func (m *Meter) SetVariable(ctx context.Context, name, value string) error {
	body, err := json.Marshal(map[string]string{"name": name, "value": value})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, variableWait)
	defer cancel()
	data, err := m.request(ctx, "var."+m.o.Node, body)
	if err != nil {
		return err
	}
	var a struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
		Hint string `json:"hint"`
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("%w: answer on var.%s: %w", ErrUnreachable, m.o.Node, err)
	}
	if a.Error == nil {
		return nil
	}
	code, message, _ := strings.Cut(a.Error.Description, ": ")
	if status := events.StatusOf(code); status == 429 || status >= 500 {
		return fmt.Errorf("%w: %s", ErrUnreachable, a.Error.Description)
	}
	return &events.Error{Code: code, Message: message, Hint: a.Hint}
}
