package tomcat

import (
	"archive/zip"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// builtinMessages are the few messages of Tomcat 10.1 (and of 8.5, where it differs) that must be known even if no jar can be read: key,
// language ("-" is English) and text. A language without a key falls back to English, as in Tomcat. Those of the installed Tomcat are read
// from its jars and added to them.
//
//go:embed builtin.txt
var builtinMessages string

// messageKeys are the messages that matter: package of the LocalStrings file, key, and what a line with it means. The keys are the same in
// Tomcat 8.5 to 11, except where noted.
var messageKeys = map[string]map[string]Kind{
	"org/apache/catalina/core": {
		"standardContext.startFailed":                 ContextFailed,
		"standardContext.listenerStart":               contextCause,
		"standardContext.filterStart":                 contextCause,
		"standardContext.applicationListener":         contextCause,
		"standardContext.resourcesStart":              contextCause,
		"standardContext.loadOnStartup.loadException": ServletFailed,
		"standardServer.awaitSocket.fail":             ConnectorFailed, // the shutdown port
	},
	"org/apache/catalina/util": {
		"lifecycleBase.initFail":  ServerFailed,
		"lifecycleBase.startFail": ServerFailed,
	},
	"org/apache/catalina/startup": {
		"catalina.startup":                  Started,
		"catalina.serverStartFail":          ServerFailed,
		"catalina.configFail":               ConfigError,
		"hostConfig.deployDir.error":        DeployFailed,
		"hostConfig.deployWar.error":        DeployFailed,
		"hostConfig.deployDescriptor.error": DeployFailed,
	},
	"org/apache/tomcat/util/digester": {
		"digester.parseErrorFatal": parsePosition, // digester.parseError is not fatal
	},
}

// Patterns recognises Tomcat's own lines in every language that it knows. It does not change after it was made and may be shared.
type Patterns struct {
	closed []compiled // end in text
	open   []compiled // end in an argument, and are tried last
}

type compiled struct {
	template
	kind Kind
}

// BuiltinPatterns knows the messages of Tomcat 10.1 in the languages it ships.
func BuiltinPatterns() *Patterns {
	p := new(Patterns)
	kinds := map[string]Kind{}
	for _, keys := range messageKeys {
		maps.Copy(kinds, keys)
	}
	for line := range strings.Lines(builtinMessages) {
		m := strings.SplitN(line, " ", 3)
		p.add(m[0], strings.TrimPrefix(m[1], "-"), m[2], kinds[m[0]])
	}
	return p
}

// LoadPatterns is BuiltinPatterns and the messages of the installed Tomcat, read from the jars in home/lib. The patterns are usable even
// with an error, which then names the jars that could not be read.
func LoadPatterns(home string) (*Patterns, error) {
	p := BuiltinPatterns()
	lib := filepath.Join(home, "lib")
	files, err := untrusted.ReadDir(lib, maxNames)
	if err != nil {
		return p, fmt.Errorf("cannot read Tomcat's messages in %s: %w", lib, err)
	}
	var errs []error
	for _, f := range files {
		name := f.Name()
		if !strings.HasSuffix(name, ".jar") || name != "catalina.jar" && !strings.HasPrefix(name, "tomcat-") {
			continue
		}
		jar := filepath.Join(lib, name)
		if err := p.addJar(jar); err != nil {
			errs = append(errs, fmt.Errorf("cannot read Tomcat's messages from %s: %w", jar, err))
		}
	}
	return p, errors.Join(errs...)
}

// maxMessages bounds the messages of a Tomcat that are known: one of the release has about 20 in each of 10 languages. maxMessage bounds
// the text of one, in bytes.
const (
	maxMessages = 2000
	maxMessage  = 1000
)

func (p *Patterns) addJar(jar string) error {
	budget := maxJar
	_, err := untrusted.ReadJar(jar, maxJar, func(f *zip.File) error {
		dir, file := path.Split(f.Name)
		wanted := messageKeys[strings.TrimSuffix(dir, "/")]
		lang, isStrings := strings.CutPrefix(strings.TrimSuffix(file, ".properties"), "LocalStrings")
		if wanted == nil || !isStrings {
			return nil
		}
		data, err := readEntry(f)
		if err != nil {
			return err
		}
		if budget -= len(data); budget < 0 {
			return fmt.Errorf("its messages are %w: more than %d bytes", untrusted.ErrTooLarge, maxJar)
		}
		props := Properties(data)
		for _, key := range slices.Sorted(maps.Keys(props)) {
			if kind, ok := wanted[key]; ok {
				p.add(key, strings.TrimPrefix(lang, "_"), props[key], kind)
			}
		}
		return nil
	})
	return err
}

func (p *Patterns) add(key, lang, text string, kind Kind) {
	t, ok := newTemplate(key, lang, strings.TrimSpace(text))
	if !ok || len(text) > maxMessage {
		return
	}
	list := &p.closed
	if t.literals[len(t.literals)-1] == "" {
		list = &p.open
	}
	variants := []template{t}
	if ascii, changed := t.asASCII(); changed {
		variants = append(variants, ascii)
	}
	for _, v := range variants {
		same := func(o compiled) bool { return o.key == key && slices.Equal(o.literals, v.literals) }
		if p.count() < maxMessages && !slices.ContainsFunc(*list, same) {
			*list = append(*list, compiled{v, kind})
		}
	}
}

func (p *Patterns) count() int { return len(p.closed) + len(p.open) }

// find returns the message that line ends with.
func (p *Patterns) find(line string) (c compiled, args [10]string, ok bool) {
	line = strings.TrimRight(line, " \t\r\n")
	for _, ending := range []string{"", `"}`, `"`} {
		text, has := strings.CutSuffix(line, ending)
		if !has || text == "" {
			continue
		}
		for _, list := range [][]compiled{p.closed, p.open} {
			for _, c := range list {
				if !strings.HasSuffix(text, c.literals[len(c.literals)-1]) { // by far the most
					continue
				}
				if args, ok := c.match(text); ok {
					return c, args, true
				}
			}
		}
	}
	return compiled{}, args, false
}
