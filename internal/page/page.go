// Package page serves the page for operators: files that are embedded, under a policy that allows the page
// nothing of others. It knows nothing about what the page shows: that comes from the API.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

// files are the page's own, and in npm what scripts/page.sh took from npm: each with .gz behind its name, and
// only where it was run.
//
//go:embed app npm
var files embed.FS

// Page is a handler of "/" and "/assets/". The zero value is ready for use.
type Page struct {
	files    fs.FS // nil: those that are embedded
	once     sync.Once
	assets   map[string]asset // by name
	index    string           // with hash and preload filled in, and {{nonce}} in it
	hash     string           // of all assets: part of their address, which so never changes its content
	terminal bool             // the parts of the terminal are there
}

type asset struct {
	kind   string // media type
	packed []byte // with gzip
}

// load reads and compresses the files, a few milliseconds at the first request.
func (p *Page) load() {
	p.assets = map[string]asset{}
	sum := sha256.New()
	var index []byte
	if p.files == nil {
		p.files = files
	}
	_ = fs.WalkDir(p.files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "README.md" {
			return err
		}
		data, err := fs.ReadFile(p.files, name)
		if err != nil {
			return err
		}
		sum.Write([]byte(name))
		sum.Write(data)
		short := strings.TrimPrefix(strings.TrimSuffix(name, ".gz"), "app/")
		if short == "index.html" {
			index = data
			return nil
		}
		if !strings.HasSuffix(name, ".gz") {
			data = pack(data)
		}
		p.assets[short] = asset{kind(short), data}
		return nil
	})
	p.hash = hex.EncodeToString(sum.Sum(nil))[:16]
	_, p.terminal = p.assets["npm/xterm.mjs"]
	filled := strings.NewReplacer("{{hash}}", p.hash, "{{terminal}}", fmt.Sprint(p.terminal), "{{preload}}\n", p.preload())
	p.index = filled.Replace(string(index))
}

// preload names the modules, so that a browser asks for all of them at once.
func (p *Page) preload() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.assets)) {
		if strings.HasSuffix(name, ".js") && name != "main.js" {
			fmt.Fprintf(&b, "<link rel=\"modulepreload\" nonce=\"{{nonce}}\" href=\"/assets/%s/%s\">\n", p.hash, name)
		}
	}
	return b.String()
}

func kind(name string) string {
	switch path.Ext(name) {
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

func pack(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = w.Write(data) // into memory
	_ = w.Close()
	return b.Bytes()
}

// ServeHTTP answers GET and HEAD of the page and its assets.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.once.Do(p.load)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.URL.Path == "/" {
		p.serveIndex(w)
		return
	}
	name, current := strings.CutPrefix(r.URL.Path, "/assets/"+p.hash+"/")
	a, ok := p.assets[name]
	if !current || !ok {
		http.NotFound(w, r)
		return
	}
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Type", a.kind)
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", fmt.Sprint(len(a.packed)))
		_, _ = w.Write(a.packed) // the client may be gone
		return
	}
	if z, err := gzip.NewReader(bytes.NewReader(a.packed)); err == nil {
		_, _ = io.Copy(w, z)
	}
}

// serveIndex writes the page with another nonce each time. Scripts and styles need it, and a script may load
// others; there is nothing else that the page may use, and no page may frame it.
func (p *Page) serveIndex(w http.ResponseWriter) {
	nonce := rand.Text()
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+nonce+"' 'strict-dynamic'; style-src 'nonce-"+nonce+
		"'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), clipboard-read=(self), clipboard-write=(self)")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, strings.ReplaceAll(p.index, "{{nonce}}", nonce)) // the client may be gone
}
