package meter

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// keptSeat is a borrowed seat in the spool folder, so that a program that starts
// again without a network still has it. It is a note to ourselves and proves
// nothing to others: whoever can write the folder or set the clock can change it.
// What was lent to whom, and how long, stands in the ledger of the daemon.
type keptSeat struct {
	Pool   string    `json:"pool"`
	Holder string    `json:"holder"`
	Node   string    `json:"node"`
	User   string    `json:"user,omitempty"`
	Host   string    `json:"host,omitempty"`
	Kept   time.Time `json:"kept"`
	Until  time.Time `json:"until"`
}

// seatFile is where a seat is kept.
func (m *Meter) seatFile(s *Seat) string {
	sum := sha256.Sum256([]byte(s.pool + "\x00" + s.holder))
	return filepath.Join(m.o.Dir, "seat-"+hex.EncodeToString(sum[:8])+".json")
}

// keepSeat writes a borrowed seat to the spool folder, if there is one.
func (m *Meter) keepSeat(s *Seat, l lease) error {
	if m.o.Dir == "" {
		return nil
	}
	data, err := json.Marshal(keptSeat{s.pool, s.holder, m.o.Node, s.o.User, s.o.Host, time.Now().UTC(), l.until.UTC()})
	if err != nil {
		return err
	}
	path := m.seatFile(s)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep borrowed seat: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(m.o.Dir)
	}
	if err != nil {
		return fmt.Errorf("keep borrowed seat: %w", err)
	}
	return nil
}

// keptSeat returns what is left of a seat that s borrowed before. A clock that
// stands before the borrow ends it: it was set back.
func (m *Meter) keptSeat(s *Seat) (l lease, ok bool) {
	if m.o.Dir == "" {
		return l, false
	}
	data, err := os.ReadFile(m.seatFile(s))
	if err != nil {
		return l, false
	}
	var k keptSeat
	if err := json.Unmarshal(data, &k); err != nil {
		m.log.Warn("a borrowed seat cannot be read", "path", m.seatFile(s), "err", err)
		return l, false
	}
	now := time.Now()
	if k.Pool != s.pool || k.Holder != s.holder || k.Node != m.o.Node || k.User != s.o.User || k.Host != s.o.Host || !now.Before(k.Until) || now.Before(k.Kept) {
		return l, false
	}
	return lease{until: now.Add(k.Until.Sub(now)), borrowed: true}, true
}

// forgetSeat removes what keepSeat wrote.
func (m *Meter) forgetSeat(s *Seat) error {
	if m.o.Dir == "" {
		return nil
	}
	if err := os.Remove(m.seatFile(s)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
