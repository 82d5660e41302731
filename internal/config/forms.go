package config

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/netinit/source"
)

// maxSocketPath is what sockaddr_un holds, in bytes, less the NUL at its end.
const maxSocketPath = 107

// textForms check a text, or each item of a list, by the form that a tag check names.
// Literals are texts in which nothing is expanded.
var textForms = map[string]func(v *validator, path, text string){
	"absolute":      (*validator).absolute,
	"address":       (*validator).address,
	"capability":    (*validator).capability,
	"envfile":       (*validator).envFile,
	"envpattern":    formOf(hooks.CheckEnvPattern, ""),
	"group":         (*validator).group,
	"hookfile":      formOf(hooks.CheckFileName, ""),
	"ionice":        formOf(func(text string) error { _, err := execshim.ParseIONice(text); return err }, ""),
	"listenaddress": (*validator).listenAddress,
	"literal":       (*validator).literal,
	"method":        (*validator).method,
	"mode":          formOf(func(text string) error { _, err := listen.ParseMode(text); return err }, `write "0660"`),
	"networksource": (*validator).networkSource,
	"option":        (*validator).option,
	"regexp":        (*validator).regexp,
	"remoteurl":     (*validator).remoteURL,
	"signal":        (*validator).signal,
	"size":          (*validator).size,
	"socket":        (*validator).socket,
	"umask":         formOf(func(text string) error { _, err := execshim.ParseUmask(text); return err }, `write "0027"`),
	"url":           (*validator).httpURL,
	"user":          (*validator).user,
	"variable":      (*validator).envName,
}

// formOf is a form whose check another package has.
func formOf(check func(text string) error, hint string) func(v *validator, path, text string) {
	return func(v *validator, path, text string) {
		if err := check(text); err != nil {
			v.Bad(path, hint, "%s", err)
		}
	}
}

// tags checks the values below v, the section at path, by their tags check.
func (v *validator) tags(section any, path string) { v.CheckTags(section, path, v.form) }

func (v *validator) form(form, path string, value any) {
	text, isText := value.(string)
	list, isList := value.([]string)
	check := textForms[form]
	switch {
	case form == "size" && text == "":
		if v.IsSet(path) {
			v.Bad(path, "remove the key to keep the default", "is empty")
		}
	case check != nil && isText && text == "": // as if it were absent: a later layer can unset a value
	case check != nil && isText:
		check(v, path, text)
	case check != nil && isList:
		for i, item := range list {
			check(v, layeredyaml.Index(path, i), item)
		}
	case form == "command":
		v.program(path, list)
	case form == "headers":
		v.headers(path, value.(map[string]string))
	case form == "rlimits":
		v.rlimits(path, value.(map[string]string))
	case form == "exitcodes":
		v.numbers(path, value.([]int), 0, 255, "an exit code")
	case form == "statuses":
		v.numbers(path, value.([]int), 100, 599, "an HTTP status")
	case form == "conditions" && isList:
		v.condition(path, list)
	case form == "conditions":
		for name, words := range value.(map[string]jvm.StringList) {
			v.condition(layeredyaml.Join(path, name), words)
			if layeredyaml.LastKey(path) == "env" {
				v.envName(layeredyaml.Join(path, name), name)
			}
		}
	case form == "share":
		if share := value.(float64); !(share > 0 && share <= 1) {
			v.Bad(path, "write 0.5 for a half", "%v is not above 0 and up to 1", share)
		}
	default:
		panic(path + " has the unknown check " + form)
	}
}

func (v *validator) capability(path, name string) {
	if _, err := execshim.ParseCapability(name); err != nil {
		v.Bad(path, layeredyaml.DidYouMean(strings.ToUpper(name), execshim.CapabilityNames()), "%v", err)
	}
}

func (v *validator) user(path, text string) {
	v.literal(path, text)
	name, group, both := strings.Cut(text, ":")
	if !validID(name) || both && !validID(group) {
		v.Bad(path, "write name, uid, name:group or uid:gid", "%s is not a user", layeredyaml.Quote("", text))
	}
}

func (v *validator) group(path, text string) {
	if !validID(text) {
		v.Bad(path, "write a name or a number", "%s is not a group", layeredyaml.Quote("", text))
	}
}

func (v *validator) option(path, text string) {
	if args, ok := jvm.SplitJoined(text); ok {
		v.Bad(path, "write "+layeredyaml.QuoteList(redact.Args(args))+" as items of the list",
			"%s has %d arguments, and each is an item of its own", layeredyaml.Quote("", redact.Line(text)), len(args))
	}
}

func (v *validator) remoteURL(path, text string) {
	if err := remote.Check(text); err != nil {
		v.Bad(path, `write "http://host/path/${NAME}", or "unix:///run/agent.sock:/path"`, "%s cannot be requested: %s",
			layeredyaml.Quote("", redact.URL(text)), err)
	}
}

func (v *validator) networkSource(path, text string) {
	if err := source.Check(text, true); err != nil {
		v.Bad(path, `write "/path/of/file", "http://host/path/${NAME}" or "unix:/run/agent.sock"`, "%s is no source: %s",
			layeredyaml.Quote("", redact.URL(text)), err)
	}
}

func (v *validator) absolute(path, file string) { v.file(path, file, "", "begin it with /") }

func (v *validator) envFile(path, file string) {
	v.file(path, file, "-", `write "/path", or "-/path" for one that may be missing`)
}

// file refuses a relative path, before which a mark may stand.
func (v *validator) file(path, file, mark, hint string) {
	if !strings.HasPrefix(strings.TrimPrefix(file, mark), "/") {
		v.Bad(path, orNotExpanded(path, file, hint), "%s is not an absolute path", layeredyaml.Quote(path, file))
	}
	v.literal(path, file)
}

// socket checks the path of a unix socket.
func (v *validator) socket(path, file string) {
	v.absolute(path, file)
	if len(file) > maxSocketPath {
		v.Bad(path, "", "the path has %d bytes, and the system allows %d", len(file), maxSocketPath)
	}
}

func (v *validator) size(path, text string) {
	n, err := jvm.ParseMemory(text)
	if err != nil {
		v.Bad(path, "", "%s", err)
	} else if strings.Trim(text, "0123456789") == "" && n < 64<<10 {
		v.Warn(path, "write the unit: "+strconv.FormatInt(n, 10)+"MiB", "%d is a number of bytes", n)
	}
}

// commonSignals are the signals that services are stopped with, for hints.
var commonSignals = []string{"TERM", "INT", "QUIT", "HUP", "KILL", "USR1", "USR2", "WINCH"}

func (v *validator) signal(path, name string) {
	if _, err := proc.ParseSignal(name); err != nil {
		v.Bad(path, layeredyaml.DidYouMean(name, commonSignals), "%s", err)
	}
}

// numbers checks a list of exit codes, or of HTTP statuses.
func (v *validator) numbers(path string, list []int, low, high int, what string) {
	for i, n := range list {
		if n < low || n > high {
			v.Bad(layeredyaml.Index(path, i), "", "%d is not %s: they go from %d to %d", n, what, low, high)
		}
	}
}

// condition refuses one that never holds.
func (v *validator) condition(path string, words []string) {
	if len(words) == 0 {
		v.Bad(path, "write a value, or a list of values", "the condition has no value: it never holds")
	}
}

// service refuses a service that does not exist; false: it does not, or was refused.
func (v *validator) service(path, name string) bool {
	if _, exists := v.cfg.Services[name]; exists {
		return true
	}
	// What is there of a service that was refused as a whole is a service.
	if !v.AlreadyReported(layeredyaml.Join("services", name)) {
		known := slices.Sorted(maps.Keys(v.cfg.Services))
		v.Missing(path, layeredyaml.DidYouMean(name, known), "there is no service %s", layeredyaml.Quote("", name))
	}
	return false
}

func (v *validator) rlimits(path string, limits map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		at := layeredyaml.Join(path, name)
		switch l, err := execshim.ParseRlimit(name, limits[name]); {
		case err != nil:
			v.Bad(at, "", "%v", err)
		case l.Name != name: // else one limit could be there twice
			v.Bad(at, "write "+l.Name, "%s is not how a limit is written here", layeredyaml.Quote("", name))
		}
	}
}

// envName refuses what no environment can hold.
func (v *validator) envName(path, name string) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		v.Bad(path, "", "%s is not the name of a variable", layeredyaml.Quote("", name))
	}
}

// validID checks the form of a user or group only: which ones exist is known when the
// service starts.
func validID(id string) bool {
	if id == "" || strings.HasPrefix(id, "-") || strings.ContainsAny(id, ": \t\n\r/\x00") {
		return false
	}
	if strings.Trim(id, "0123456789") != "" {
		return true
	}
	// The highest number means "no user" to the kernel.
	n, err := strconv.ParseUint(id, 10, 32)
	return err == nil && n != 1<<32-1
}

// methods are those of HTTP.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions, http.MethodDelete,
	http.MethodPatch}

func (v *validator) method(path, method string) {
	switch upper := strings.ToUpper(method); {
	case method != "" && !validToken(method):
		v.Bad(path, "", "%s is not a method of HTTP", layeredyaml.Quote(path, method))
	case method != upper && slices.Contains(methods, upper):
		v.Bad(path, "write "+upper, "%s is another method than %s: capitals count", layeredyaml.Quote(path, method), upper)
	}
}

// address checks a "host:port".
func (v *validator) address(path, text string) {
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		v.Bad(path, orNotExpanded(path, text, "write 127.0.0.1:8080"), "%s is not host:port", layeredyaml.Quote(path, text))
	}
}

func (v *validator) headers(path string, headers map[string]string) {
	first := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at, canonical := layeredyaml.Join(path, name), http.CanonicalHeaderKey(name)
		switch {
		case !validToken(name):
			v.Bad(at, "letters, digits and - are safe", "%s is not the name of a header", layeredyaml.Quote("", name))
		case first[canonical] != "":
			v.Bad(at, "remove one of the two", "is the same header as %s", first[canonical])
		case strings.ContainsFunc(headers[name], func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			v.Bad(at, "", "the value has a line break or another control character")
		}
		first[canonical] = name
	}
}

// validToken reports whether s is a token of RFC 9110, as methods and header names are.
func validToken(s string) bool {
	for _, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", c) {
			return false
		}
	}
	return s != ""
}

func (v *validator) httpURL(path, text string) {
	u, err := url.Parse(text)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
	if ok && u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		ok = err == nil && n > 0
	}
	if !ok {
		hint := orNotExpanded(path, text, "write http://127.0.0.1:8080/health")
		v.Bad(path, hint, "%s is not an http or https URL with a host", layeredyaml.Quote(path, redact.Arg(text)))
		return
	}
	v.literal(path, text)
}

func (v *validator) regexp(path, text string) {
	if _, err := regexp.Compile(text); err != nil {
		v.Bad(path, "", "%s is not a regular expression: %s", layeredyaml.Quote(path, text),
			strings.TrimPrefix(printable.Line(err.Error()), "error parsing regexp: "))
	}
}

// program refuses a command whose program is empty; no command at all is absent.
func (v *validator) program(path string, argv []string) {
	if len(argv) > 0 && argv[0] == "" {
		v.Bad(layeredyaml.Index(path, 0), "", "the program's name is empty")
	}
	v.arguments(path, argv)
}
