package portal

import (
	"context"
	"encoding/json"
	"time"
)

// Codes of requests that are answered once.
const (
	CodeKeyReused   = "idempotency/key_reused"
	CodeUnderWay    = "idempotency/under_way"
	CodeAnswerLost  = "idempotency/answer_lost"
	CodeSecretShown = "idempotency/secret_shown"
)

// onceLife is how long an answer is remembered; onceBusy how long one may be under
// way: after it, whoever began it is gone.
const (
	onceLife = 24 * time.Hour
	onceBusy = 10 * time.Minute
)

// States of a request that is answered once.
const (
	onceBegun    = "begun"
	onceAnswered = "answered"
	onceSecret   = "secret"
	onceLost     = "lost"
)

// A OnceRequest is one that has an effect once, however often it is sent.
type OnceRequest struct {
	Holder, Key string // who sent it, and the name that he gave it
	Digest      string // of what it asks for
}

// A OnceAnswer is what it was answered with.
type OnceAnswer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
}

// BeginOnce returns what a request was answered with before, or nil: it is the
// first, and is followed by EndOnce, LoseOnce or ForgetOnce. It is refused with
// the codes above. Processes on one database know of each other's.
//
// What was begun and never ended is never begun again: the change may be made.
func (p *Portal) BeginOnce(ctx context.Context, r OnceRequest) (*OnceAnswer, error) {
	var a *OnceAnswer
	err := p.store.tx(ctx, func(c conn) error {
		now := p.now()
		if _, err := c.exec(ctx, "DELETE FROM once WHERE begun < ?", now.Add(-onceLife).Unix()); err != nil {
			return err
		}
		n, err := c.exec(ctx, "INSERT INTO once (holder, key, request, begun, state, answer) VALUES (?, ?, ?, ?, ?, '') ON CONFLICT (holder, key) DO NOTHING",
			r.Holder, r.Key, r.Digest, now.Unix(), onceBegun)
		if err != nil || n == 1 {
			return err
		}
		var digest, state, answer string
		var begun int64
		found, err := c.get(ctx, "SELECT request, begun, state, answer FROM once WHERE holder = ? AND key = ?", []any{r.Holder, r.Key}, &digest, &begun, &state, &answer)
		switch {
		case err != nil:
			return err
		case !found: // forgotten between the two statements
			return refuse(CodeUnderWay, "the request with the key %q is being answered", r.Key)
		case digest != r.Digest:
			return refuse(CodeKeyReused, "the key %q was sent with another request", r.Key)
		case state == onceSecret:
			return refuse(CodeSecretShown, "the request with the key %q was answered with a secret", r.Key)
		case state == onceLost, state == onceBegun && now.Sub(unix(begun)) > onceBusy:
			return refuse(CodeAnswerLost, "the answer to the request with the key %q was lost: what it asks for may be done", r.Key)
		case state == onceBegun:
			return refuse(CodeUnderWay, "the request with the key %q is being answered", r.Key)
		}
		a = &OnceAnswer{}
		return json.Unmarshal([]byte(answer), a)
	})
	return a, err
}

// EndOnce remembers an answer; secret: only that there was one.
func (p *Portal) EndOnce(ctx context.Context, r OnceRequest, a OnceAnswer, secret bool) error {
	state, text := onceAnswered, toJSON(a)
	if secret {
		state, text = onceSecret, ""
	}
	return p.setOnce(ctx, r, state, text)
}

// LoseOnce notes that it is not known what came of a request.
func (p *Portal) LoseOnce(ctx context.Context, r OnceRequest) error {
	return p.setOnce(ctx, r, onceLost, "")
}

func (p *Portal) setOnce(ctx context.Context, r OnceRequest, state, answer string) error {
	return p.store.tx(ctx, func(c conn) error {
		_, err := c.exec(ctx, "UPDATE once SET state = ?, answer = ? WHERE holder = ? AND key = ?", state, answer, r.Holder, r.Key)
		return err
	})
}

// ForgetOnce lets a request be sent again that changed nothing.
func (p *Portal) ForgetOnce(ctx context.Context, r OnceRequest) error {
	return p.store.tx(ctx, func(c conn) error {
		_, err := c.exec(ctx, "DELETE FROM once WHERE holder = ? AND key = ?", r.Holder, r.Key)
		return err
	})
}
