package pages

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

// ServeAsset answers the file assets/NAME, of own or else of those that all pages
// share. Its tag is its hash, so a browser asks again and gets 304.
func ServeAsset(w http.ResponseWriter, r *http.Request, own fs.FS, name string) {
	name = path.Join("assets", path.Clean("/"+name))
	for _, from := range []fs.FS{own, files} {
		b, err := fs.ReadFile(from, name)
		if err != nil {
			continue
		}
		sum := sha256.Sum256(b)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, from, name)
		return
	}
	http.NotFound(w, r)
}
