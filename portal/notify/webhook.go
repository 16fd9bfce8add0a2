package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// Limits of one attempt.
const (
	attemptTime    = 15 * time.Second
	answerBytesMax = 4 << 10
)

// Sign returns the signature of a webhook's body by Standard Webhooks 1.0:
// "v1," and the base64 of HMAC-SHA256 over "ID.SECONDS.BODY". secret has the form
// whsec_BASE64.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return "", errors.New("the secret of the webhook is no whsec_BASE64")
	}
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s.%d.", id, at.Unix())
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)), nil
}

// Body is what a webhook gets of an event.
func Body(e portal.Event) ([]byte, error) {
	return json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{e.Type, e.Time, e.Data})
}

// post makes one attempt: the status of the answer and how it began, or 0 and what
// went wrong.
func (s *Sender) post(ctx context.Context, d portal.Delivery) (status int, answer string) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	body, err := Body(d.Event)
	if err != nil {
		return 0, err.Error()
	}
	at := s.Now()
	signature, err := Sign(d.Secret, d.Event.ID, at, body)
	if err != nil {
		return 0, err.Error()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	h := r.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Meterseal-Portal")
	h.Set("webhook-id", d.Event.ID)
	h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	h.Set("webhook-signature", signature)
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, cause(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return 0, cause(err)
	}
	return resp.StatusCode, string(b)
}

// cause leaves the address out of an error: it stands beside it.
func cause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// errPrivate is why an address is not asked.
var errPrivate = errors.New("the address is a private one: allow those with webhooks_private in vendor.yaml")

// newClient returns a client that follows no redirects and, unless private is set,
// connects to public addresses alone, whatever a name resolves to: who may enter a
// webhook shall not reach the services beside the portal by it.
func newClient(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: attemptTime}
	if !private {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if !public(a.Addr()) {
				return errPrivate
			}
			return nil
		}
	}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: attemptTime, ResponseHeaderTimeout: attemptTime,
			MaxResponseHeaderBytes: 16 << 10, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// public tells whether an address is a host of the internet.
func public(a netip.Addr) bool {
	a = a.WithZone("").Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// special are nets of the registries of RFC 6890 that lead to no public host: of
// carriers, of protocols, of tests, reserved ones, and those of IPv6 that carry an
// address of IPv4 on to wherever it leads.
var special = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("fec0::/10")}
