package notify_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/notify"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// The example of the Standard Webhooks specification.
func TestSignIsThatOfStandardWebhooks(t *testing.T) {
	got, err := notify.Sign("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", time.Unix(1731705121, 0), []byte(`{"event_type":"ping","data":{"success":true}}`))
	const want = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
	if err != nil || got != want {
		t.Errorf("Sign = %s, %v, want %s", got, err, want)
	}
}

// A receiver is an HTTP server that checks signatures and keeps what it got.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	answer []int // statuses, one per request; then 204
	got    []received
}

type received struct{ id, kind, object string }

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		id := q.Header.Get("webhook-id")
		at, err := strconv.ParseInt(q.Header.Get("webhook-timestamp"), 10, 64)
		if err != nil {
			t.Errorf("webhook-timestamp: %v", err)
		}
		if want, err := notify.Sign(r.secret, id, time.Unix(at, 0), body); err != nil || q.Header.Get("webhook-signature") != want {
			t.Errorf("webhook-signature = %s, want %s (%v)", q.Header.Get("webhook-signature"), want, err)
		}
		var e struct {
			Type string
			Data map[string]any
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("body %s: %v", body, err)
		}
		object, _ := e.Data["license"].(string)
		r.got = append(r.got, received{id, e.Type, object})
		status := 204
		if len(r.answer) > 0 {
			status, r.answer = r.answer[0], r.answer[1:]
		}
		if status == 302 {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) add(v *portaltest.Vendor, types ...string) portal.Webhook {
	h, err := v.AddWebhook(ctx, portal.Webhook{URL: r.URL, Types: types}, "ana")
	v.Must(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret = h.Secret
	return h
}

var ctx = context.Background()

func sender(v *portaltest.Vendor, o notify.Options) *notify.Sender {
	o.Portal, o.Now, o.Private = v.Portal, v.Clock.Now, true
	s, err := notify.New(o)
	v.Must(err)
	return s
}

// L-26: the life of a license comes to a webhook, signed, each event once.
func TestWebhookGetsTheLifeOfALicense(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		r := newReceiver(t)
		r.add(v)
		s, l := v.Ready("L-1")
		_, err := v.RenewLicense(ctx, l.ID, "", "ana")
		v.Must(err)
		s.Use(5)
		s.Retire()
		s.Send()
		send := sender(v, notify.Options{})
		v.Must(send.Round(ctx))
		v.Must(send.Round(ctx))
		want := map[string]int{"license.created": 1, "license.activated": 1, "report.accepted": 3, "license.refreshed": 1, "license.deactivated": 1}
		got := map[string]int{}
		ids := map[string]bool{}
		for _, g := range r.got {
			got[g.kind]++
			ids[g.id] = true
			if g.object != "L-1" {
				t.Errorf("event %s is of license %q, want L-1", g.kind, g.object)
			}
		}
		for kind, n := range want {
			if got[kind] != n {
				t.Errorf("%d events %s, want %d (all: %v)", got[kind], kind, n, got)
			}
		}
		if len(got) != len(want) || len(ids) != len(r.got) {
			t.Errorf("events %v with %d ids, want %v, each with its own", got, len(ids), want)
		}
	})
}

// L-26: what fails is sent again with the same id, later each time, until the
// waits are used up; then staff can send it again.
func TestWebhookIsTriedAgain(t *testing.T) {
	v := portaltest.New(t, "")
	r := newReceiver(t)
	h := r.add(v, portal.EventCustomerCreated)
	r.answer = []int{500, 302, 404}
	send := sender(v, notify.Options{})
	_, err := v.SetCustomer(ctx, portal.Customer{ID: "zeta", Name: "Zeta"}, "ana")
	v.Must(err)
	v.Must(send.Round(ctx))
	v.Must(send.Round(ctx)) // not due yet
	if n := len(r.got); n != 1 {
		t.Fatalf("%d attempts before the first wait was over, want 1", n)
	}
	for range 5 {
		v.Clock.Add(time.Hour)
		v.Must(send.Round(ctx))
	}
	if n := len(r.got); n != 4 {
		t.Fatalf("%d attempts, want 4: three refused, one taken", n)
	}
	for _, g := range r.got {
		if g.id != r.got[0].id {
			t.Errorf("id %s, want that of the first attempt, %s", g.id, r.got[0].id)
		}
	}
	page, err := v.Deliveries(ctx, h.ID, portal.ListOptions{})
	v.Must(err)
	if d := page.Items[0]; len(page.Items) != 1 || d.State != portal.DeliveryDelivered || d.Attempts != 4 || d.Status != 204 {
		t.Errorf("deliveries = %+v, want one, delivered with 204 at the 4th attempt", page.Items)
	}

	r.answer = slicesOf(500, 20)
	_, err = v.SetCustomer(ctx, portal.Customer{ID: "eta", Name: "Eta"}, "ana")
	v.Must(err)
	before := len(r.got)
	for range 20 {
		v.Must(send.Round(ctx))
		v.Clock.Add(25 * time.Hour)
	}
	page, err = v.Deliveries(ctx, h.ID, portal.ListOptions{State: portal.DeliveryFailed})
	v.Must(err)
	if len(page.Items) != 1 || len(r.got)-before != 10 {
		t.Fatalf("%d attempts and %d failed deliveries, want 10 and 1", len(r.got)-before, len(page.Items))
	}
	r.answer = nil
	v.Must(v.Redeliver(ctx, page.Items[0].ID, "ana"))
	v.Must(send.Round(ctx))
	if last := r.got[len(r.got)-1]; last.id != r.got[before].id {
		t.Errorf("sent again with id %s, want %s", last.id, r.got[before].id)
	}
}

func slicesOf(x, n int) (out []int) {
	for range n {
		out = append(out, x)
	}
	return out
}

// A receiver that is gone is not asked again.
func TestWebhookThatIsGoneIsSwitchedOff(t *testing.T) {
	v := portaltest.New(t, "")
	r := newReceiver(t)
	h := r.add(v)
	r.answer = []int{410}
	send := sender(v, notify.Options{})
	for _, id := range []string{"b-1", "b-2", "b-3"} {
		_, err := v.SetCustomer(ctx, portal.Customer{ID: id, Name: id}, "ana")
		v.Must(err)
		v.Must(send.Round(ctx))
	}
	if got, err := v.Webhook(ctx, h.ID); err != nil || got.State != portal.WebhookOff || got.Note == "" || len(r.got) != 1 {
		t.Errorf("webhook = %+v, %v after %d attempts, want off with a note after 1", got, err, len(r.got))
	}
}

// Private addresses are not reached by a webhook, unless the operator wants it.
func TestWebhookReachesNoPrivateAddress(t *testing.T) {
	v := portaltest.New(t, "")
	r := newReceiver(t)
	h := r.add(v)
	_, err := v.SetCustomer(ctx, portal.Customer{ID: "zeta", Name: "Zeta"}, "ana")
	v.Must(err)
	s, err := notify.New(notify.Options{Portal: v.Portal, Now: v.Clock.Now})
	v.Must(err)
	v.Must(s.Round(ctx))
	page, err := v.Deliveries(ctx, h.ID, portal.ListOptions{})
	v.Must(err)
	if d := page.Items[0]; len(r.got) != 0 || d.Status != 0 || !strings.Contains(d.Answer, "private") {
		t.Errorf("%d requests came through, delivery %+v, want none and the reason", len(r.got), d)
	}
}

// Neither spellings of IPv4 in IPv6 nor tunnels nor reserved nets lead inside.
func TestPublicAddresses(t *testing.T) {
	for a, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "192.0.0.192": false, "198.18.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "224.0.0.1": false,
		"::1": false, "::": false, "::127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false, "fe80::1%eth0": false,
		"fd00:ec2::254": false, "fec0::1": false, "ff02::1": false} {
		if got := notify.Public(netip.MustParseAddr(a)); got != want {
			t.Errorf("public(%s) = %v, want %v", a, got, want)
		}
	}
}

// Several processes send each event once.
func TestWebhookIsSentOnceByManyProcesses(t *testing.T) {
	dsn := postgrestest.Database(t)
	v := portaltest.New(t, dsn)
	r := newReceiver(t)
	r.add(v)
	const customers, processes = 40, 4
	for i := range customers {
		_, err := v.SetCustomer(ctx, portal.Customer{ID: "c-" + strconv.Itoa(i), Name: "C"}, "ana")
		v.Must(err)
	}
	var group sync.WaitGroup
	for range processes {
		p, err := portal.Open(ctx, v.O)
		v.Must(err)
		defer p.Close()
		s, err := notify.New(notify.Options{Portal: p, Now: v.Clock.Now, Private: true})
		v.Must(err)
		group.Go(func() {
			if err := s.Round(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	ids := map[string]int{}
	for _, g := range r.got {
		ids[g.id]++
	}
	if len(ids) != customers || len(r.got) != customers {
		t.Errorf("%d requests with %d ids, want %d of each", len(r.got), len(ids), customers)
	}
}
