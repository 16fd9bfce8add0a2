package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
)

// An Inbox is a folder that replies are taken from.
type Inbox struct {
	Folder string // empty: there is none
	// Every is how often it is looked at. A file is taken when two looks in a row
	// find it the same, so that one that is still being copied is left alone.
	Every time.Duration
}

// Folders of an inbox, and what it leaves alone in it.
const (
	doneFolder    = "done"
	refusedFolder = "refused"
)

// inboxKept bounds the files that are remembered.
const inboxKept = 20

// inboxDocument is the name of its state; no job can have it.
const inboxDocument = ".inbox"

// Taken is what became of a file of the inbox.
type Taken struct {
	// Later says that nothing is known of the file: the daemon is busy, its store
	// is full. It stays where it is.
	Later bool
	// Refused says that it is not in force, and that a newer one is not either.
	Refused bool
	// Code, Message and Hint say why it is not in force, Message alone what is.
	Code, Message, Hint string
}

// InboxStatus is an inbox and what was found in it.
type InboxStatus struct {
	Folder  string      `json:"folder"`
	Every   int64       `json:"every_seconds"`
	Waiting int         `json:"waiting" doc:"files that are there now"`
	Code    string      `json:"code,omitempty" doc:"why it cannot be used"`
	Message string      `json:"message,omitempty"`
	Last    *InboxFile  `json:"last,omitempty"`
	Files   []InboxFile `json:"files" nullable:"false" doc:"the last 20, newest first"`
}

// InboxFile is a file that was taken from the inbox.
type InboxFile struct {
	Time    time.Time `json:"time"`
	File    string    `json:"file"`
	Result  string    `json:"result" enum:"done,refused"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}

// stamp tells a file that changes.
type stamp struct {
	size     int64
	modified time.Time
}

type inbox struct {
	x *Exporter
	Inbox
	seen map[string]stamp  // at the last look
	why  map[string]string // files that wait, and what was told of them

	mu      sync.Mutex // protects what follows
	files   []InboxFile
	waiting int
	broken  string
}

func (b *inbox) load() error {
	kept, err := b.x.Site.Document(inboxDocument)
	if err != nil || kept == nil {
		return err
	}
	if err := json.Unmarshal(kept, &b.files); err != nil {
		return fmt.Errorf("state of the inbox: %w", err)
	}
	return nil
}

func (b *inbox) status() InboxStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := InboxStatus{Folder: b.Folder, Every: int64(b.Every / time.Second), Waiting: b.waiting, Message: b.broken, Files: append([]InboxFile{}, b.files...)}
	if b.broken != "" {
		s.Code = CodeInbox
	}
	if len(s.Files) > 0 {
		s.Last = &s.Files[0]
	}
	return s
}

// CodeInbox is that of an inbox that cannot be read, or whose files cannot be moved.
const CodeInbox = "inbox_unusable"

// look takes the files that have not changed since the last look, by name: whoever
// wants an order gives names in that order, and the newest reply wins anyway.
func (b *inbox) look() {
	err := b.takeAll(b.x.ctx)
	b.mu.Lock()
	was := b.broken
	if b.broken = ""; err != nil {
		b.broken = err.Error()
	}
	b.mu.Unlock()
	if err != nil && was != err.Error() && b.x.ctx.Err() == nil {
		b.x.Log.Error("inbox cannot be used", "code", CodeInbox, "path", b.Folder, "err", err)
	}
}

func (b *inbox) takeAll(ctx context.Context) error {
	list, err := os.ReadDir(b.Folder)
	if err != nil {
		return err
	}
	now, waiting := map[string]stamp{}, 0
	var failed []error
	for _, e := range list {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), ".part") || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it went while we looked
		}
		waiting++
		s := stamp{info.Size(), info.ModTime()}
		now[e.Name()] = s
		if old, ok := b.seen[e.Name()]; ok && old == s && ctx.Err() == nil {
			if err := b.take(ctx, e.Name()); err != nil {
				failed = append(failed, err)
			}
		}
	}
	b.seen = now
	b.mu.Lock()
	b.waiting = waiting
	b.mu.Unlock()
	return errors.Join(failed...)
}

// take takes one file into use and moves it away. A crash between the two leaves it
// where it was, and it is taken again: what is in force already is done.
func (b *inbox) take(ctx context.Context, name string) error {
	t := b.x.Site.Take(ctx, filepath.Join(b.Folder, name))
	if t.Later || ctx.Err() != nil {
		if b.why[name] != t.Message {
			b.why[name] = t.Message
			b.x.Log.Warn("reply waits", "path", name, "code", t.Code, "err", t.Message)
		}
		return nil
	}
	delete(b.why, name)
	f := InboxFile{Time: b.x.Now().UTC(), File: name, Result: doneFolder, Code: t.Code, Message: t.Message, Hint: t.Hint}
	if t.Refused {
		f.Result = refusedFolder
	}
	if err := b.move(name, f); err != nil {
		return err
	}
	if f.Result == refusedFolder {
		b.x.Log.Warn("reply refused", "path", name, "code", t.Code, "err", t.Message)
	} else {
		b.x.Log.Info("reply taken from the inbox", "path", name)
	}
	b.mu.Lock()
	b.files = append([]InboxFile{f}, b.files[:min(len(b.files), inboxKept-1)]...)
	kept, err := json.Marshal(b.files)
	b.mu.Unlock()
	if err == nil {
		err = b.x.Site.KeepDocument(inboxDocument, kept)
	}
	return err
}

// move puts the file into the folder of its result, and first a text beside it that
// says what became of it. Another file that was called the same there stays.
func (b *inbox) move(name string, f InboxFile) error {
	folder := filepath.Join(b.Folder, f.Result)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	from, to := filepath.Join(b.Folder, name), filepath.Join(folder, name)
	if !sameOrNone(from, to) {
		to = filepath.Join(folder, f.Time.Format("20060102T150405.000000000Z-")+name)
	}
	text := "result   " + f.Result + "\ntime     " + f.Time.Format(time.RFC3339) + "\n"
	for _, line := range [][2]string{{"code", f.Code}, {"message", f.Message}, {"hint", f.Hint}} {
		if line[1] != "" {
			text += fmt.Sprintf("%-8s %s\n", line[0], strings.ReplaceAll(line[1], "\n", " "))
		}
	}
	if err := cli.WriteSynced(to+".txt", []byte(text)); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(cli.SyncFolder(folder), cli.SyncFolder(b.Folder))
}

// sameOrNone tells whether to is not there, or holds the bytes of from. Files that
// are too large to be documents count as different.
func sameOrNone(from, to string) bool {
	info, err := os.Stat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil || info.Size() > ledger.ReplyBytesMax {
		return false
	}
	old, errOld := os.ReadFile(to)
	content, errNew := os.ReadFile(from)
	return errOld == nil && errNew == nil && bytes.Equal(old, content)
}
