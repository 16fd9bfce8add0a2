// Package durablefs makes Pebble's marker files safe to lose power on.
//
// Pebble names its current manifest in the name of a marker file. When it
// changes to a new manifest it creates that file, creates the new marker,
// removes the old marker and only then syncs the folder. The three entries may
// reach the disk in any order, so a power cut can leave a marker without its
// manifest (the store cannot be opened) or no marker at all (the store looks as
// if it had never existed). Pebble fixed the first case upstream in April 2026
// (pull request 5915), but no release of the v2.1 line has it.
//
// [Wrap] syncs the folder before a marker is created and before one is removed,
// which keeps that order on every file system. It is used by projections and
// costs two more fsyncs per new manifest: a few at start, then one pair in many
// minutes.
package durablefs

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const markerPrefix = "marker."

// Wrap returns fs with ordered marker files.
func Wrap(fs vfs.FS) vfs.FS { return &ordered{fs} }

type ordered struct{ vfs.FS }

// Create makes every earlier entry of the folder durable before a marker names
// one of them.
func (o *ordered) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.syncBeforeMarker(name); err != nil {
		return nil, err
	}
	return o.FS.Create(name, category)
}

// Remove makes the new marker durable before the old one goes.
func (o *ordered) Remove(name string) error {
	if err := o.syncBeforeMarker(name); err != nil {
		return err
	}
	return o.FS.Remove(name)
}

// Unwrap returns the file system below: Pebble looks for it.
func (o *ordered) Unwrap() vfs.FS { return o.FS }

func (o *ordered) syncBeforeMarker(name string) error {
	if !strings.HasPrefix(o.PathBase(name), markerPrefix) {
		return nil
	}
	dir, err := o.OpenDir(o.PathDir(name))
	if err != nil {
		return fmt.Errorf("open folder of %q: %w", name, err)
	}
	if err := dir.Sync(); err != nil {
		_ = dir.Close() // the failed sync is what matters
		return fmt.Errorf("sync folder of %q: %w", name, err)
	}
	if err := dir.Close(); err != nil {
		return fmt.Errorf("close folder of %q: %w", name, err)
	}
	return nil
}
