package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// staged is the folder in which nfpm works: root is what the package of p holds.
func (r *release) staged(arch string, p program) string { return filepath.Join(r.work, arch, p.name) }

// system stages the files of one program as a system has them, and makes deb and
// rpm of them.
func (r *release) system(arch string, p program) error {
	dir := r.staged(arch, p)
	in := func(path string) string { return filepath.Join(dir, "root", "usr", filepath.FromSlash(path)) }
	made := filepath.Join(r.generated(), p.name)
	data := in("share/" + p.name)
	doc := in("share/doc/" + p.name)
	err := errors.Join(
		r.place(filepath.Join(r.binaries(arch), p.name), in("bin/"+p.name), 0o755),
		r.place("tools/packaging/linux/"+p.name+".service", in("lib/systemd/system/"+p.name+".service"), 0o644),
		r.fill("linux/sysusers.conf", in("lib/sysusers.d/"+p.name+".conf"), p, arch),
		r.copyTree(filepath.Join(made, "man"), in("share/man"), packed),
		r.place(filepath.Join(made, "completion", p.name+".bash"), in("share/bash-completion/completions/"+p.name), 0o644),
		r.place(filepath.Join(made, "completion", p.name+".fish"), in("share/fish/vendor_completions.d/"+p.name+".fish"), 0o644),
		r.place(filepath.Join(made, "completion", p.name+".ps1"), filepath.Join(data, p.name+".ps1"), 0o644),
		r.place(filepath.Join(made, "completion", "_"+p.name), filepath.Join(dir, "zsh", "_"+p.name), 0o644),
		r.place(filepath.Join(made, "schema", p.schema), filepath.Join(data, p.schema), 0o644),
		r.copyTree("tools/packaging/linux/dropins/"+p.name, filepath.Join(data, "systemd"), asItIs),
		r.copyTree("examples/monitoring", data, p.watching),
		r.documents(doc),
		r.copyTree(r.licensesDir(arch), filepath.Join(doc, "LICENSES"), asItIs),
		r.place(r.sbomFile(arch), filepath.Join(doc, "sbom.cdx.json"), 0o644),
		r.place("LICENSE", filepath.Join(doc, "copyright"), 0o644),
		r.place("tools/packaging/config/"+p.config, filepath.Join(dir, p.config), 0o644),
	)
	for _, f := range []string{"linux/postinstall.sh", "linux/preremove.sh", "linux/postremove.sh", "nfpm.yaml"} {
		err = errors.Join(err, r.fill(f, filepath.Join(dir, filepath.Base(f)), p, arch))
	}
	if err != nil {
		return err
	}
	if err := r.dateAll(dir); err != nil {
		return err
	}
	for _, kind := range []string{"deb", "rpm"} {
		if err := command(dir, nil, r.nfpm, "package", "-f", "nfpm.yaml", "-p", kind, "-t", r.out); err != nil {
			return err
		}
	}
	return nil
}

// documents copies the pages of the documentation.
func (r *release) documents(to string) error {
	return errors.Join(r.copyTree("docs", filepath.Join(to, "docs"), only(".md")), r.place("README.md", filepath.Join(to, "README.md"), 0o644), r.place("CHANGELOG.md", filepath.Join(to, "CHANGELOG.md"), 0o644))
}

// A taking says under which name and with which bytes a file is taken; "": not.
type taking func(name string, b []byte) (string, []byte, error)

func asItIs(name string, b []byte) (string, []byte, error) { return name, b, nil }

// only takes the files whose names end so.
func only(endings ...string) taking {
	return func(name string, b []byte) (string, []byte, error) {
		for _, e := range endings {
			if strings.HasSuffix(name, e) {
				return name, b, nil
			}
		}
		return "", nil, nil
	}
}

// watching takes the alerts and dashboards of p.
func (p program) watching(name string, b []byte) (string, []byte, error) {
	if ours := strings.HasPrefix(name, "meterseal-vendor-") == (p.name == "meterseal-vendor"); !ours || !strings.HasPrefix(name, "meterseal-") || strings.Contains(name, "-test.") {
		return "", nil, nil
	}
	return name, b, nil
}

// packed compresses as man pages are.
func packed(name string, b []byte) (string, []byte, error) {
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		return "", nil, err
	}
	if _, err := w.Write(b); err != nil {
		return "", nil, err
	}
	return name + ".gz", z.Bytes(), w.Close()
}

// copyTree copies the files below from that take takes.
func (r *release) copyTree(from, to string, take taking) error {
	if _, err := os.Stat(from); os.IsNotExist(err) && from == "examples/monitoring" {
		return nil
	}
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name, b, err := take(rel, b)
		if err != nil || name == "" {
			return err
		}
		return r.write(filepath.Join(to, name), 0o644, b)
	})
}

// dateAll gives all files and folders below dir the day of the release.
func (r *release) dateAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, r.date, r.date)
	})
}

// tarball makes the archive that installs both programs where there is neither
// dpkg nor rpm.
func (r *release) tarball(arch, key string) error {
	name := "meterseal-" + r.version + "-linux-" + arch
	dir := filepath.Join(r.work, arch, name)
	for _, p := range programs {
		err := errors.Join(
			r.copyTree(filepath.Join(r.staged(arch, p), "root", "usr"), dir, func(name string, b []byte) (string, []byte, error) {
				if strings.HasPrefix(filepath.ToSlash(name), "share/doc/") {
					return "", nil, nil // once at the top
				}
				return name, b, nil
			}),
			r.place(filepath.Join(r.staged(arch, p), "zsh", "_"+p.name), filepath.Join(dir, "share/zsh/site-functions", "_"+p.name), 0o644),
			r.place("tools/packaging/config/"+p.config, filepath.Join(dir, "etc", p.name, p.config), 0o644),
			os.Chmod(filepath.Join(dir, "bin", p.name), 0o755),
		)
		if err != nil {
			return err
		}
	}
	err := errors.Join(
		r.documents(dir),
		r.copyTree(r.licensesDir(arch), filepath.Join(dir, "LICENSES"), asItIs),
		r.copyTree("tools/packaging/container", filepath.Join(dir, "container"), asItIs),
		r.place("LICENSE", filepath.Join(dir, "LICENSE"), 0o644),
		r.place(r.sbomFile(arch), filepath.Join(dir, "sbom.cdx.json"), 0o644),
		r.place(r.sbomFile(arch), filepath.Join(r.out, name+".sbom.cdx.json"), 0o644),
		r.place("tools/packaging/linux/install.sh", filepath.Join(dir, "install.sh"), 0o755),
		r.place("tools/packaging/linux/uninstall.sh", filepath.Join(dir, "uninstall.sh"), 0o755),
	)
	if err != nil {
		return err
	}
	if err := writeSums(dir); err != nil {
		return err
	}
	if key != "" {
		if err := sign(dir, key); err != nil {
			return err
		}
	}
	return r.archive(dir, filepath.Join(r.out, name+".tar.gz"))
}

// archive writes the folder dir as a compressed tar: in the order of names, all of
// it root's and of the day of the release.
func (r *release) archive(dir, to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	t := tar.NewWriter(z)
	defer func() { err = errors.Join(err, t.Close(), z.Close(), f.Close()) }()
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.Dir(dir), path)
		if err != nil {
			return err
		}
		mode := info.Mode().Perm()
		if e.IsDir() {
			rel, mode = rel+"/", 0o755
		}
		*h = tar.Header{Typeflag: h.Typeflag, Name: filepath.ToSlash(rel), Size: h.Size, Mode: int64(mode), ModTime: r.date, Uname: "root", Gname: "root", Format: tar.FormatGNU}
		if err := t.WriteHeader(h); err != nil || e.IsDir() {
			return err
		}
		src, err := os.Open(path)
		if err != nil {
			return err
		}
		defer src.Close()
		_, err = io.Copy(t, src)
		return err
	})
}
