// Package xmlfile changes attributes of an XML file in any encoding; all other bytes stay. It does not interpret the file: the caller's
// parser says where its start tags are.
package xmlfile

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"golang.org/x/text/encoding"
)

// Document is an XML file that is edited. The first edit that fails makes Bytes fail.
type Document struct {
	text     []byte            // in UTF-8
	encoding encoding.Encoding // of the file; nil: UTF-8
	mark     string            // the byte order mark in UTF-8
	edits    []edit
	err      error // of the first edit that failed
}

// edit replaces text[from:to].
type edit struct {
	from, to int
	with     string
}

// Open returns the file with some content. It refuses one whose text could not be encoded to the same bytes.
func Open(data []byte) (*Document, error) {
	d := &Document{encoding: utf16Of(data), text: bytes.TrimPrefix(data, []byte(utf8Mark))}
	if len(d.text) < len(data) {
		d.mark = utf8Mark
	}
	var err error
	if d.encoding != nil {
		d.text, err = d.encoding.NewDecoder().Bytes(data)
	} else {
		dec := xml.NewDecoder(bytes.NewReader(d.text))
		dec.CharsetReader = func(name string, rest io.Reader) (_ io.Reader, err error) {
			if d.encoding, err = encodingNamed(name); err != nil {
				return nil, err
			}
			encoded, err := io.ReadAll(rest)
			if err != nil {
				return nil, err
			}
			decoded, err := d.encoding.NewDecoder().Bytes(encoded)
			d.text = slices.Concat(d.text[:len(d.text)-len(encoded)], decoded)
			return bytes.NewReader(decoded), err
		}
		_, err = dec.RawToken()
	}
	if err != nil {
		return nil, err
	}
	if same, err := d.encode(d.text); err != nil || !bytes.Equal(same, data) {
		return nil, errors.New("its text could not be encoded to the same bytes\nhint: save it in UTF-8")
	}
	return d, nil
}

func (d *Document) encode(text []byte) ([]byte, error) {
	if d.encoding == nil {
		return append([]byte(d.mark), text...), nil
	}
	return d.encoding.NewEncoder().Bytes(text)
}

// attributes matches an attribute of a start tag; what the parser has accepted has quotes.
var attributes = lazyregexp.New(`^\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')`)

// find returns where the name of the start tag at an offset ends, and where an attribute of it and its value, in quotes, are.
func (d *Document) find(tag int, attribute string) (end int, whole, value edit, found bool) {
	if tag >= len(d.text) || d.text[tag] != '<' {
		d.err = cmp.Or(d.err, errors.New("it has changed since it was read"))
		return 0, edit{}, edit{}, false
	}
	end = tag + max(bytes.IndexAny(d.text[tag:], " \t\r\n/>"), 1)
	for at := end; ; {
		m := attributes().FindSubmatchIndex(d.text[at:])
		if m == nil {
			return end, edit{}, edit{}, false
		}
		if string(d.text[at+m[2]:at+m[3]]) == attribute {
			return end, edit{from: at, to: at + m[1]}, edit{from: at + m[4], to: at + m[5]}, true
		}
		at += m[1]
	}
}

var escaped = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;")

// Set sets an attribute of the start tag whose "<" is at an offset of the text that Decode returns.
func (d *Document) Set(tag int, name, value string) {
	end, _, old, found := d.find(tag, name)
	old.with = `"` + escaped.Replace(value) + `"`
	switch {
	case !found:
		d.edits = append(d.edits, edit{end, end, " " + name + "=" + old.with})
	case string(d.text[old.from+1:old.to-1]) != value:
		d.edits = append(d.edits, old)
	}
}

// SetDefault sets an attribute that a tag does not have.
func (d *Document) SetDefault(tag int, name, value string) {
	if _, _, _, found := d.find(tag, name); !found {
		d.Set(tag, name, value)
	}
}

// Remove removes an attribute.
func (d *Document) Remove(tag int, name string) {
	if _, whole, _, found := d.find(tag, name); found {
		d.edits = append(d.edits, whole)
	}
}

// external matches the URI of an external entity or DTD, and what may look like one.
var external = lazyregexp.New(`(?s)<!--.*?-->|(?:\bSYSTEM|\bPUBLIC\s+(?:"[^"]*"|'[^']*'))\s+["']([^"']*)["']|"[^"]*"|'[^']*'`)

// AbsoluteEntities makes the relative URIs of the DOCTYPE, which are relative to dir, absolute.
func (d *Document) AbsoluteEntities(dir string) {
	dec := xml.NewDecoder(bytes.NewReader(d.text))
	dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		from := int(dec.InputOffset())
		tok, err := dec.RawToken()
		if err != nil {
			return // the parser has reported it
		}
		switch tok.(type) {
		case xml.StartElement:
			return
		case xml.Directive:
			for _, m := range external().FindAllSubmatchIndex(d.text[from:dec.InputOffset()], -1) {
				if m[2] < 0 {
					continue
				}
				uri, at := string(d.text[from+m[2]:from+m[3]]), from+m[2]
				if scheme, _, ok := strings.Cut(uri, ":"); filepath.IsAbs(uri) || ok && !strings.Contains(scheme, "/") {
					continue
				}
				d.edits = append(d.edits, edit{at, at, (&url.URL{Scheme: "file", Path: dir + "/"}).String()})
			}
		}
	}
}

// Bytes returns the file with the edits.
func (d *Document) Bytes() ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	slices.SortStableFunc(d.edits, func(a, b edit) int { return cmp.Or(a.from-b.from, a.to-b.to) }) // insertions first
	var out []byte
	at := 0
	for _, e := range d.edits {
		out = append(append(out, d.text[at:e.from]...), e.with...)
		at = e.to
	}
	return d.encode(append(out, d.text[at:]...))
}
