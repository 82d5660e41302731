package page

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func get(p *Page, path, accept string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept-Encoding", accept)
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Each load has a nonce of its own, and everything that the page loads has it.
func TestPolicy(t *testing.T) {
	var p Page
	seen := map[string]bool{}
	for range 3 {
		resp := get(&p, "/", "gzip")
		text := body(t, resp)
		policy := resp.Header.Get("Content-Security-Policy")
		nonce := regexp.MustCompile(`script-src 'nonce-([A-Z2-7]{26})' 'strict-dynamic'; style-src 'nonce-([A-Z2-7]{26})'`).FindStringSubmatch(policy)
		if nonce == nil || nonce[1] != nonce[2] || seen[nonce[1]] {
			t.Fatalf("policy %q", policy)
		}
		seen[nonce[1]] = true
		for _, want := range []string{"default-src 'none'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("the policy %q has no %s", policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(text, "{{") {
			t.Errorf("policy %q of\n%s", policy, text)
		}
		for _, tag := range regexp.MustCompile(`<(script|link rel="(stylesheet|modulepreload)")[^>]*>`).FindAllString(text, -1) {
			if !strings.Contains(tag, `nonce="`+nonce[1]+`"`) {
				t.Errorf("%s has not the nonce", tag)
			}
		}
		if found := regexp.MustCompile(`(?i)<script[^>]*></script>|<[^>]+ (style|on[a-z]+)=`).FindAllString(text, -1); len(found) != 1 {
			t.Errorf("scripts and inline code: %q", found)
		}
		if resp.Header.Get("Cache-Control") != "no-store" {
			t.Error("the page may be cached, with its nonce")
		}
	}
}

// Assets have the hash of all of them in their address.
func TestAssets(t *testing.T) {
	first := Page{files: fstest.MapFS{"app/index.html": {Data: []byte("{{hash}} {{terminal}} {{preload}}\n")}, "app/a.js": {Data: []byte("one")}}}
	second := Page{files: fstest.MapFS{"app/index.html": {Data: []byte("{{hash}} {{terminal}}")}, "app/a.js": {Data: []byte("two")},
		"npm/xterm.mjs.gz": {Data: pack([]byte("terminal"))}}}
	text := body(t, get(&first, "/", ""))
	if !strings.Contains(text, " false ") || !strings.Contains(text, `rel="modulepreload"`) {
		t.Errorf("without npm: %s", text)
	}
	if text := body(t, get(&second, "/", "")); !strings.HasSuffix(text, " true") || strings.Contains(text, first.hash) {
		t.Errorf("with npm: %s", text)
	}
	for _, test := range []struct {
		path, accept, want string
		status             int
	}{
		{"/assets/" + second.hash + "/a.js", "", "two", 200},
		{"/assets/" + second.hash + "/a.js", "br, gzip", "two", 200},
		{"/assets/" + second.hash + "/npm/xterm.mjs", "", "terminal", 200},
		{"/assets/" + second.hash + "/npm/xterm.mjs", "gzip", "terminal", 200},
		{"/assets/" + first.hash + "/a.js", "", "", 404},
		{"/assets/" + second.hash + "/index.html", "", "", 404},
		{"/assets/" + second.hash + "/../a.js", "", "", 404},
		{"/assets/" + second.hash + "/", "", "", 404},
		{"/assets/a.js", "", "", 404},
	} {
		resp := get(&second, test.path, test.accept)
		text := body(t, resp)
		if resp.StatusCode != test.status {
			t.Errorf("%s: %d", test.path, resp.StatusCode)
			continue
		}
		if strings.Contains(test.accept, "gzip") != (resp.Header.Get("Content-Encoding") == "gzip") {
			t.Errorf("%s: encoding %q for %q", test.path, resp.Header.Get("Content-Encoding"), test.accept)
		}
		if resp.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader([]byte(text)))
			if err != nil {
				t.Fatal(err)
			}
			unpacked, _ := io.ReadAll(z)
			text = string(unpacked)
		}
		if test.status == 200 && (text != test.want || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") ||
			resp.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/javascript")) {
			t.Errorf("%s: %q, %v", test.path, text, resp.Header)
		}
	}
}

// The page's own files are complete: each import and each address in them leads to a file.
func TestOwnFiles(t *testing.T) {
	var p Page
	text := body(t, get(&p, "/", ""))
	for _, path := range regexp.MustCompile(`/assets/[^"]+`).FindAllString(text, -1) {
		resp := get(&p, path, "")
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
		for _, found := range regexp.MustCompile(`from '\./([^']+)'`).FindAllStringSubmatch(body(t, resp), -1) {
			if _, ok := p.assets[found[1]]; !ok {
				t.Errorf("%s imports %s", path, found[1])
			}
		}
	}
}
