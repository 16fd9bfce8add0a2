package events_test

import (
	"testing"

	"github.com/meterseal/meterseal/events"
)

// A request that could be meant in two ways is refused, and says which field it is.
func TestReadStrict(t *testing.T) {
	type request struct {
		Holder     string
		Quantity   int               `json:"quantity"`
		Dimensions map[string]string `json:"dimensions"`
	}
	for _, c := range []struct{ name, data, cause, field string }{
		{"all", `{"holder":"a","quantity":3,"dimensions":{"a":"x","A":"y"}} `, "", ""},
		{"nothing", `{}`, "", ""},
		{"twice", `{"quantity":1,"holder":"a","quantity":2}`, "doubled", "quantity"},
		{"twice, the same", `{"quantity":1,"quantity":1}`, "doubled", "quantity"},
		{"twice, escaped", `{"quantity":1,"\u0071uantity":2}`, "doubled", "quantity"},
		{"twice, in other case", `{"quantity":1,"Quantity":2}`, "doubled", "quantity"},
		{"twice, with a long s", `{"dimensions":{},"dimen\u017fions":{}}`, "doubled", "dimensions"},
		{"twice, inside", `{"dimensions":{"a":"x","a":"y"}}`, "doubled", "a"},
		{"unknown", `{"metre":1}`, "unknown_field", "metre"},
		{"two objects", `{} {}`, "json", ""},
		{"more", `{}]`, "json", ""},
		{"none", ``, "json", ""},
		{"another type", `{"quantity":"1"}`, "json", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v request
			err := events.ReadStrict([]byte(c.data), &v)
			switch {
			case c.cause == "" && err != nil:
				t.Errorf("ReadStrict(%s) = %v, want nil", c.data, err)
			case c.cause != "" && (err == nil || err.Code != events.CodeMalformed || err.Cause != c.cause || err.Field != c.field || err.Hint == ""):
				t.Errorf("ReadStrict(%s) = %+v, want malformed (%s) of %q", c.data, err, c.cause, c.field)
			}
		})
	}
}
