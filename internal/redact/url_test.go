package redact

import (
	"net/url"
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	for text, want := range map[string]string{
		"http://config/x?env=fat":                    "http://config/x?env=fat",
		"http://me:geheim@config/x@y":                "http://***@config/x@y",
		"http://me@config":                           "http://***@config",
		"http://me:geh/eim@config/x":                 "http://***",
		"http://me:geh?eim@config/x":                 "http://***",
		"http://me:gehe:?im@config/x":                "http://***",
		"http://me:#@0/geheim@config":                "http://***",
		"http://me:?geheim@config/x":                 "http://***",
		"http://[::1]:80/x":                          "http://[::1]:80/x",
		"http://[::1]/x":                             "http://[::1]/x",
		"http://${HOST}:${PORT}/x@y":                 "http://${HOST}:${PORT}/x@y",
		"https://c/?a=1&api_key=geheim&b=2#f":        "https://c/?a=1&api_key=***&b=2#f",
		"https://c/?TOKEN=geheim":                    "https://c/?TOKEN=***",
		"https://c/?to%6ben=geheim":                  "https://c/?to%6ben=***",
		"https://c/${X}?password=${Y}":               "https://c/${X}?password=***",
		"unix:///run/a.sock:/jvm?secret=geheim&n=no": "unix:///run/a.sock:/jvm?secret=***&n=no",
	} {
		if got := URL(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzURL puts a password into every place of a URL where one may stand.
func FuzzURL(f *testing.F) {
	for _, s := range [][2]string{{"", ""}, {":", ""}, {"/", "?"}, {"@", "#"}, {"a:?", ""}, {"%", "&"}, {"=", ";"}, {"${", "}"}, {"1", "2"},
		{" ", "\x00"}} {
		f.Add(s[0], s[1], "config/x", "token")
	}
	f.Fuzz(func(t *testing.T, before, after, rest, name string) {
		const marker = "hunter22"
		if strings.Contains(before+after+rest+name, marker) {
			return
		}
		password := before + marker + after
		var texts []string
		for _, text := range []string{"https://me:" + password + "@" + rest, "http://" + password + "@" + rest} {
			_, authority, _ := strings.Cut(text, "://")
			authority = authority[:strings.IndexAny(authority+"/", "/?#")]
			host := authority[strings.LastIndexByte(authority, '@')+1:]
			if strings.Contains(authority[:len(authority)-len(host)], marker) || !Host(host) || host == "" { // else it is a host with a path
				texts = append(texts, text)
			}
		}
		if name = url.QueryEscape(name); queryName(name) {
			texts = append(texts, "https://config/x?"+name+"="+url.QueryEscape(password)+"&b=2",
				"unix:///run/a.sock:/jvm?a=1&"+name+"="+url.QueryEscape(password))
		}
		for _, text := range texts {
			masked := URL(text)
			if strings.Contains(masked, marker) {
				t.Errorf("%q is shown as %q", text, masked)
			}
			if again := URL(masked); strings.Contains(again, marker) {
				t.Errorf("%q is shown as %q, and then as %q", text, masked, again)
			}
		}
	})
}
