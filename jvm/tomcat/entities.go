package tomcat

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Bounds of entities: their bytes in total, with a surcharge for each use, and their depth.
const (
	maxEntities  = 1 << 20
	entityCost   = 64
	maxEntityRun = 20
)

// entity is declared by a DOCTYPE.
type entity struct {
	file  string // the file that declares it
	value string // its replacement text
	// system is the URI of an external entity; empty: value is the text.
	system string
}

// The decoder replaces an entity by text. Here that is its name between two characters of the private use area, so that markup inside the
// entity can be parsed.
const entityBegin, entityEnd = "\ue000", "\ue001"

const entityMark = entityBegin + "([^" + entityEnd + "]*)" + entityEnd

// declare records the entities of a DOCTYPE. The first declaration of a name wins.
func (p *xmlParser) declare(file, directive string) {
	re := regexp.MustCompile(`<!ENTITY\s+([^\s"'%]+)\s+(SYSTEM\s+|PUBLIC\s+(?:"[^"]*"|'[^']*')\s+)?("[^"]*"|'[^']*')`)
	for _, m := range re.FindAllStringSubmatch(directive, -1) {
		name, literal := m[1], m[3][1:len(m[3])-1]
		if _, known := p.entities[name]; known {
			continue
		}
		e := entity{file: file, value: characters(literal)}
		if m[2] != "" {
			e = entity{file: file, system: literal}
		}
		p.entities[name], p.names[name] = e, entityBegin+name+entityEnd
	}
}

// characters resolves the character references in the value of an entity.
func characters(literal string) string {
	return regexp.MustCompile(`&#x?[0-9A-Fa-f]+;`).ReplaceAllStringFunc(literal, func(ref string) string {
		var text string
		if xml.Unmarshal([]byte("<a>"+ref+"</a>"), &text) != nil {
			return ref
		}
		return text
	})
}

// content parses the entities between elements.
func (p *xmlParser) content(text string) error {
	if !strings.Contains(text, entityBegin) {
		return nil
	}
	for _, m := range regexp.MustCompile(entityMark).FindAllStringSubmatch(text, -1) {
		if err := p.readEntity(m[1]); err != nil {
			return err
		}
	}
	return nil
}

// readEntity parses an entity as markup.
func (p *xmlParser) readEntity(name string) error {
	e, ok := p.entities[name]
	if !ok { // marker characters in the file itself
		return nil
	}
	file, data := e.file, []byte(e.value)
	if e.system != "" {
		local, ok := localFile(e.file, e.system)
		if !ok || p.read == nil {
			p.out.Notes = append(p.out.Notes, fmt.Sprintf("the entity &%s; (%s) is not followed", name, e.system))
			return nil
		}
		var err error
		if data, err = p.read(local); err != nil {
			return fmt.Errorf("cannot read the entity &%s; from %s: %w", name, local, err)
		}
		file = local
	}
	if err := p.openEntity(name, len(data)); err != nil {
		return err
	}
	defer func() { p.open = p.open[:len(p.open)-1] }()
	_, err := p.parse(file, data)
	return err
}

// openEntity checks the bounds and pushes an entity on p.open; the caller pops it.
func (p *xmlParser) openEntity(name string, size int) error {
	p.budget -= size + entityCost
	switch {
	case slices.Contains(p.open, name):
		return fmt.Errorf("the entity &%s; refers to itself", name)
	case len(p.open) >= maxEntityRun, p.budget < 0:
		return errors.New("its entities expand to too much text")
	}
	p.open = append(p.open, name)
	return nil
}

// attribute expands the entities in the value of an attribute.
func (p *xmlParser) attribute(value string) (string, error) {
	if !strings.Contains(value, entityBegin) {
		return value, nil
	}
	var failed error
	return regexp.MustCompile(entityMark).ReplaceAllStringFunc(value, func(mark string) string {
		text, err := p.text(strings.Trim(mark, entityBegin+entityEnd))
		failed = cmp.Or(failed, err)
		return text
	}), failed
}

// text expands an entity inside an attribute.
func (p *xmlParser) text(name string) (string, error) {
	e, ok := p.entities[name]
	if !ok || e.system != "" {
		return "", fmt.Errorf("the entity &%s; cannot stand in an attribute", name)
	}
	if err := p.openEntity(name, len(e.value)); err != nil {
		return "", err
	}
	defer func() { p.open = p.open[:len(p.open)-1] }()
	var content struct {
		Text   string     `xml:",chardata"`
		Markup []struct{} `xml:",any"`
	}
	dec := xml.NewDecoder(strings.NewReader("<a>" + e.value + "</a>"))
	dec.Entity = p.names
	if err := dec.Decode(&content); err != nil {
		return "", err
	}
	if len(content.Markup) > 0 {
		return "", errors.New("there is markup in an attribute")
	}
	return p.attribute(content.Text)
}

// localFile returns the path that a URI names, relative to the file from; false: the URI is remote.
func localFile(from, uri string) (string, bool) {
	if scheme, _, ok := strings.Cut(uri, ":"); ok && !strings.Contains(scheme, "/") {
		if scheme != "file" {
			return "", false
		}
		return filePath(uri), true
	}
	if !filepath.IsAbs(uri) {
		uri = filepath.Join(filepath.Dir(from), uri)
	}
	return uri, true
}
