package portal

import (
	"context"
	"time"
)

// States of an upload that is under way.
const (
	UploadReceiving = "receiving"
	UploadVerifying = "verifying"
	UploadDone      = "done"   // answered, also if refused
	UploadFailed    = "failed" // not taken in: send it again
)

// progressEvery is after how many records Accept says how far it is.
const progressEvery = 8192

// An UploadProgress says how far an upload is that its sender gave a name.
type UploadProgress struct {
	ID       string    `json:"upload_id"`
	State    string    `json:"state" enum:"receiving,verifying,done,failed"`
	Received int64     `json:"received_bytes"`
	Records  uint64    `json:"verified_records"`
	ReportID string    `json:"report_id,omitempty"` // once it is done
	Code     string    `json:"code,omitempty"`      // of the answer, once it is done
	Changed  time.Time `json:"changed"`
}

// SetUploadProgress notes how far an upload of holder is. It is remembered for a
// day, by every process on the database.
func (p *Portal) SetUploadProgress(ctx context.Context, holder string, u UploadProgress) error {
	return p.store.tx(ctx, func(c conn) error {
		now := p.now()
		if u.State == UploadReceiving && u.Received == 0 {
			if _, err := c.exec(ctx, "DELETE FROM upload_progress WHERE changed < ?", now.Add(-onceLife).Unix()); err != nil {
				return err
			}
		}
		_, err := c.exec(ctx, `INSERT INTO upload_progress (holder, id, state, received, records, report, code, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (holder, id) DO UPDATE SET state = excluded.state, received = excluded.received, records = excluded.records,
			report = excluded.report, code = excluded.code, changed = excluded.changed`,
			holder, u.ID, u.State, u.Received, int64(u.Records), u.ReportID, u.Code, now.Unix())
		return err
	})
}

// UploadProgress returns how far an upload of holder is; not_found if there is
// none of this name.
func (p *Portal) UploadProgress(ctx context.Context, holder, id string) (u UploadProgress, err error) {
	var records, changed int64
	found, err := p.store.reader().get(ctx, "SELECT state, received, records, report, code, changed FROM upload_progress WHERE holder = ? AND id = ?",
		[]any{holder, id}, &u.State, &u.Received, &records, &u.ReportID, &u.Code, &changed)
	if err == nil && !found {
		err = refuse(CodeNotFound, "there is no upload %q", id)
	}
	u.ID, u.Records, u.Changed = id, uint64(records), unix(changed)
	return u, err
}
