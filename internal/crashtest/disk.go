package crashtest

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Disk is a file system in memory that can lose power. Its methods may be
// called at once, also while a store writes to it.
type Disk struct {
	mem  *vfs.MemFS
	seed uint64

	// mu serializes before: Pebble writes on goroutines of its own.
	mu     sync.Mutex
	writes uint64
	before func(op Op) // nil: none

	cloning sync.Mutex // see memory; taken after mu
}

// Op is one write operation of a file system: the moment before it is a point
// at which power can fail.
type Op struct {
	Index uint64 // counts from 0 on this disk
	Name  string // "write", "sync", "rename", ...
	Path  string // the file
}

// NewDisk returns an empty disk. What survives its power cuts is drawn from
// seed, but not repeatably: the file system ranges over maps while it draws.
// Keep the failing disk's [Disk.Dump] rather than its seed.
func NewDisk(seed uint64) *Disk {
	return &Disk{mem: vfs.NewCrashableMem(), seed: seed}
}

// FS returns the file system to open a store on.
func (d *Disk) FS() vfs.FS {
	return errorfs.Wrap(&memory{d.mem, &d.cloning}, errorfs.InjectorFunc(d.observe))
}

// memory keeps two operations apart from cloning: MemFS takes a lock in them
// twice, or in the wrong order, and would wait for ever if a clone were asked
// for in between.
type memory struct {
	vfs.FS
	cloning *sync.Mutex
}

// ReuseForWrite renames oldname and opens it for writing.
func (m *memory) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	m.cloning.Lock()
	defer m.cloning.Unlock()
	return m.FS.ReuseForWrite(oldname, newname, category)
}

// Link makes a hard link.
func (m *memory) Link(oldname, newname string) error {
	m.cloning.Lock()
	defer m.cloning.Unlock()
	return m.FS.Link(oldname, newname)
}

// Unwrap returns the file system below: Pebble looks for it.
func (m *memory) Unwrap() vfs.FS { return m.FS }

// Writes returns how many write operations were begun.
func (d *Disk) Writes() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// BeforeWrite has f called before each write operation from now on, one call at
// a time, on the goroutine that writes: it must not use the store on this disk.
// A nil f ends it.
func (d *Disk) BeforeWrite(f func(op Op)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = f
}

func (d *Disk) observe(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	index := d.writes
	d.writes++
	if d.before != nil {
		d.before(Op{Index: index, Name: opNames[op.Kind], Path: op.Path})
	}
	return nil
}

var opNames = map[errorfs.OpKind]string{
	errorfs.OpCreate: "create", errorfs.OpLink: "link", errorfs.OpRemove: "remove", errorfs.OpRemoveAll: "remove all",
	errorfs.OpRename: "rename", errorfs.OpReuseForWrite: "reuse", errorfs.OpMkdirAll: "mkdir", errorfs.OpLock: "lock",
	errorfs.OpFileClose: "close", errorfs.OpFileWrite: "write", errorfs.OpFileWriteAt: "write at",
	errorfs.OpFileSync: "sync", errorfs.OpFileSyncData: "sync data", errorfs.OpFileSyncTo: "sync to",
	errorfs.OpFileFlush: "flush", errorfs.OpFilePreallocate: "preallocate",
}

// PowerCut returns the disk as it could be found if power failed now. Everything
// synced is there; of blocks and directory entries that were not, each is there
// with a chance of unsyncedPercent in 100. The original goes on unharmed.
func (d *Disk) PowerCut(unsyncedPercent int) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.powerCutLocked(unsyncedPercent)
}

func (d *Disk) powerCutLocked(unsyncedPercent int) *Disk {
	seed := d.seed ^ (d.writes+1)*0x9e3779b97f4a7c15 ^ uint64(unsyncedPercent)
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent}
	if unsyncedPercent > 0 {
		cfg.RNG = rand.New(rand.NewPCG(seed, uint64(unsyncedPercent)))
	}
	d.cloning.Lock()
	defer d.cloning.Unlock()
	return &Disk{mem: d.mem.CrashClone(cfg), seed: seed}
}

// PowerCutIn has power fail before the n-th write operation from now, 1 being the
// next one. The returned function ends the wait and returns the disk as it was
// found, or nil if there were fewer operations.
//
// It takes the place of a function given to [Disk.BeforeWrite].
func (d *Disk) PowerCutIn(n uint64, unsyncedPercent int) (found func() *Disk) {
	var cut *Disk
	d.BeforeWrite(func(Op) {
		if n--; n == 0 {
			cut = d.powerCutLocked(unsyncedPercent)
		}
	})
	return func() *Disk {
		d.BeforeWrite(nil) // after this cut is no longer written to
		return cut
	}
}

// Files returns the paths of all files under dir ("" is the root), sorted.
func (d *Disk) Files(dir string) ([]string, error) {
	names, err := d.mem.List("/" + strings.TrimPrefix(dir, "/"))
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", dir, err)
	}
	var files []string
	for _, name := range names {
		name = path.Join(dir, name)
		info, err := d.mem.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("stat %q: %w", name, err)
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		below, err := d.Files(name)
		if err != nil {
			return nil, err
		}
		files = append(files, below...)
	}
	slices.Sort(files)
	return files, nil
}

// FlipBit inverts one bit of a file, synced: what a bad sector or a curious
// hand leaves. Close the store before.
func (d *Disk) FlipBit(file string, offset int64, bit uint) error {
	f, err := d.mem.OpenReadWrite(file, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("open %q: %w", file, err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return fmt.Errorf("read %q at %d: %w", file, offset, err)
	}
	b[0] ^= 1 << (bit & 7)
	if _, err := f.WriteAt(b[:], offset); err != nil {
		return fmt.Errorf("write %q at %d: %w", file, offset, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", file, err)
	}
	return nil
}

// Dump copies the disk into a folder of the real file system, so that a failure
// can be looked at afterwards.
func (d *Disk) Dump(dir string) error {
	if _, err := vfs.Clone(d.mem, vfs.Default, "/", dir); err != nil {
		return fmt.Errorf("copy disk to %q: %w", dir, err)
	}
	return nil
}
