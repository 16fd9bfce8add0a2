package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/datadir"
)

// A backup is one .tar.zst of up to two parts, each of which ends in a manifest with
// the digests of its files: the encrypted keys, if they were asked for, then
// projections, the book of nodes and tokens, and the groups of the stream one file
// each. docs/formats/store.md draws it.
const (
	sealedKeys   = "keys.age"
	groupsDir    = "groups"
	manifestFile = "manifest"

	keysPart = "meterseal-backup/v1 keys\n"
	sitePart = "meterseal-backup/v1 site\n"
)

// archive writes a part of a backup.
type archive struct {
	t        *tar.Writer
	manifest bytes.Buffer // a line for each file
}

func newArchive(w io.Writer) *archive { return &archive{t: tar.NewWriter(w)} }

// add adds a file of a size.
func (a *archive) add(name string, size int64, r io.Reader) error {
	if err := a.t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(a.t, h), r); err != nil { // no longer than size, or it fails
		return err
	}
	fmt.Fprintf(&a.manifest, "%x %d %s\n", h.Sum(nil), size, name)
	return nil
}

func (a *archive) addBytes(name string, data []byte) error {
	return a.add(name, int64(len(data)), bytes.NewReader(data))
}

// addTree adds a file or the files of a folder in root.
func (a *archive) addTree(root, sub string) error {
	return filepath.WalkDir(filepath.Join(root, sub), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return a.add(filepath.ToSlash(rel), info.Size(), f)
	})
}

// writeManifest ends a part.
func (a *archive) writeManifest(part string) error {
	text := part + formats.Format().Line() + a.manifest.String()
	if err := a.t.WriteHeader(&tar.Header{Name: manifestFile, Mode: 0o600, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := io.WriteString(a.t, text)
	return err
}

// backupContent says what a backup holds.
type backupContent struct {
	files, groups int
	first         string // name of the oldest group
	keys          bool
	format        datadir.Format

	read  strings.Builder // lines of the manifest as they should be
	whole bool
}

// manifestBytesMax bounds a manifest.
const manifestBytesMax = 1 << 30

// readBackup reads a backup to its end and compares every digest. take, unless it is
// nil, gets each file on the way: it may believe what it got only when readBackup has
// returned without an error.
func readBackup(path string, take func(name string, r io.Reader) error) (*backupContent, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, cli.Fail(cli.ExitUsage, "", "give the path of a backup", "%v", err)
	}
	defer file.Close()
	z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	c := &backupContent{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, cli.Fail(cli.ExitDocument, "format/truncated", "copy it again", "%s is not a whole backup: %v", path, err)
		}
		if err := c.entry(path, h.Name, t, take); err != nil {
			return nil, err
		}
	}
	if !c.whole {
		return nil, cli.Fail(cli.ExitDocument, "format/truncated", "copy it again", "%s is not a whole backup", path)
	}
	return c, nil
}

func (c *backupContent) entry(path, name string, r io.Reader, take func(string, io.Reader) error) error {
	switch {
	case c.whole:
		return cli.Fail(cli.ExitDocument, "format/malformed", "copy it again", "%s goes on after its end", path)
	case name == manifestFile:
		return c.compare(path, r)
	case !filepath.IsLocal(name) || strings.ContainsAny(name, "\n"):
		return cli.Fail(cli.ExitDocument, "format/malformed", "it was not made by meterseal backup", "%s holds the path %q", path, name)
	}
	h := &digest{r: r, h: sha256.New()}
	if take != nil {
		if err := take(name, h); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, h); err != nil {
		return cli.Fail(cli.ExitDocument, "format/truncated", "copy it again", "%s is not a whole backup: %v", path, err)
	}
	c.files++
	if number, ok := strings.CutPrefix(name, groupsDir+"/"); ok {
		if c.groups++; c.first == "" {
			c.first = number
		}
	}
	c.keys = c.keys || name == sealedKeys
	fmt.Fprintf(&c.read, "%x %d %s\n", h.h.Sum(nil), h.n, name)
	return nil
}

// compare compares a manifest with the files that stand before it.
func (c *backupContent) compare(path string, r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, manifestBytesMax))
	if err != nil {
		return cli.Fail(cli.ExitDocument, "format/truncated", "copy it again", "%s is not a whole backup: %v", path, err)
	}
	part, rest, _ := strings.Cut(string(b), "\n")
	made, list, _ := strings.Cut(rest, "\n")
	c.whole = part+"\n" == sitePart
	if !c.whole && part+"\n" != keysPart {
		return cli.Fail(cli.ExitVersion, "upgrade_needed", "restore it with the version that made it", "%s is a backup of another form: %.80q", path, part)
	}
	if c.format, err = datadir.Parse(made + "\n"); err != nil {
		return cli.Fail(cli.ExitDocument, "format/malformed", "copy it again", "%s: %v", path, err)
	}
	if err := formats.CheckFormat(path, c.format); err != nil {
		return err
	}
	if list != c.read.String() {
		return cli.Fail(cli.ExitDocument, "proof/root_mismatch", "copy it again, or take an older backup", "%s was changed: its files do not have the digests of its manifest", path)
	}
	c.read.Reset()
	return nil
}

// digest hashes and counts what is read.
type digest struct {
	r io.Reader
	h interface {
		io.Writer
		Sum([]byte) []byte
	}
	n int64
}

func (d *digest) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.n += int64(n)
	_, _ = d.h.Write(p[:n]) // never fails
	return n, err
}
