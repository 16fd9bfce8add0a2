package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/console"
)

// firstSteps lead from an empty site to one with a license.
type firstSteps struct {
	Meters, Events, Licensed, Reported bool
	SignedIn                           bool
	Snippets                           []snippet // that send a first event; none: no meter is declared
}

// A snippet is a program that sends one event to this daemon.
type snippet struct{ Name, Text string }

// firstStepsOf returns what is still to be done, or nil.
func (s *Server) firstStepsOf(r *http.Request, st *console.Status) *firstSteps {
	f := &firstSteps{Meters: len(st.Meters) > 0, Events: slices.ContainsFunc(st.Nodes, hasEvents), Licensed: st.License.ID != "", Reported: st.License.Serial > 0,
		SignedIn: console.CallerOf(r).Operator != "" || s.SignIn == nil}
	if f.Meters && f.Events && f.Licensed && f.Reported || st.Ledger == nil || st.Ledger.Retired {
		return nil
	}
	if f.Meters && !f.Events {
		f.Snippets = snippets(baseURL(r), s.NATS, snippetMeter(st.Meters))
	}
	return f
}

// hasEvents tells whether an event of a node counts. That it was heard of is not
// enough: holders of seats are too.
func hasEvents(n console.NodeStatus) bool { return n.Counted+n.Open > 0 }

// baseURL is how the reader reaches this daemon.
func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// snippetMeter is the one that asks least of an event.
func snippetMeter(list []console.MeterStatus) console.MeterStatus {
	for _, easy := range []string{"count", "sum"} {
		if i := slices.IndexFunc(list, func(m console.MeterStatus) bool { return m.Aggregation == easy }); i >= 0 {
			return list[i]
		}
	}
	return list[0]
}

// snippets send the same event, with an id, so that it counts once however many of
// them are tried.
func snippets(base, nats string, m console.MeterStatus) []snippet {
	const id = "first-event"
	quantity, record := "", "1" // Go counts in smallest units
	if m.Aggregation != "count" {
		quantity, record = `,"quantity":1`, "1"+strings.Repeat("0", m.Scale)
	}
	body := fmt.Sprintf(`{"id":%q,"node":"my-app","meter":%q%s}`, id, m.ID, quantity)
	fill := strings.NewReplacer("$BASE", base, "$NATS", nats, "$BODY", body, "$METER", m.ID, "$ID", id, "$QUANTITY", record, "$REST", fmt.Sprintf(`{"id":%q%s}`, id, quantity))
	list := []snippet{
		{"curl", "curl -H 'Content-Type: application/json' \\\n  -d '$BODY' $BASE/v1/events"},
		{"nats", "nats pub --server $NATS --jetstream \\\n  usage.my-app.$METER '$REST'"},
		{"Go", `m, err := meter.Open(ctx, meter.Options{
	URL: "$NATS", Node: "my-app", Dir: "spool",
})
if err != nil {
	return err
}
defer m.Close(ctx)
return m.Record("$METER", $QUANTITY, meter.ID("$ID"))`},
		{"Node.js", `const r = await fetch("$BASE/v1/events", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: '` + "$BODY" + `',
});
console.log(r.status, await r.text());`},
		{"Python", `import urllib.request
r = urllib.request.Request("$BASE/v1/events",
    data=b'$BODY',
    headers={"Content-Type": "application/json"})
print(urllib.request.urlopen(r).read().decode())`},
		{".NET", `using var http = new HttpClient();
var r = await http.PostAsync("$BASE/v1/events",
    new StringContent("""$BODY""",
        System.Text.Encoding.UTF8, "application/json"));
Console.WriteLine(await r.Content.ReadAsStringAsync());`},
	}
	list = slices.DeleteFunc(list, func(x snippet) bool { return nats == "" && strings.Contains(x.Text, "$NATS") })
	for i := range list {
		list[i].Text = fill.Replace(list[i].Text)
	}
	return list
}
