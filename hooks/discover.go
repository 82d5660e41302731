package hooks

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Problem is a problem with a tree of hook files.
type Problem struct {
	Path    string // of the file or folder, or where the entry is defined
	Message string
	Hint    string // what to do; empty: unknown
	// Fatal problems must be mended: an entry names a file that does not exist, or a folder cannot
	// be read. Other problems are files that are ignored.
	Fatal bool
}

func (p Problem) Error() string {
	if p.Hint != "" {
		return p.Path + ": " + p.Message + " (" + p.Hint + ")"
	}
	return p.Path + ": " + p.Message
}

// maxFiles bounds the entries of a folder of hooks.
const maxFiles = 10_000

// Discover finds the hook files below a folder: EVENT.d/NN-name, of each event by number and then by name. An entry of the lists
// with the name of a file has its settings; source returns where the k-th one is defined. Files with another name are added at the
// end as unmet. A missing folder has no hooks.
func Discover(dir string, lists *ByEvent, source func(e lifecycle.Event, k int) string) (out []ResolvedHook, problems []Problem) {
	const ignored = "is ignored: "
	folders, problems := readDir(dir)
	known := lifecycle.Names()
	for k := range known {
		known[k] += ".d"
	}
	for _, name := range folders {
		if !slices.Contains(known, name) {
			problems = append(problems, Problem{Path: filepath.Join(dir, name), Message: ignored + "it is not the folder of an event",
				Hint: suggestion(name, known)})
		}
	}
	for _, e := range lifecycle.Events() {
		folder := filepath.Join(dir, string(e)+".d")
		var names []string
		if slices.Contains(folders, filepath.Base(folder)) {
			var more []Problem
			names, more = readDir(folder)
			problems = append(problems, more...)
		}
		bad := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return badFileName(name) == "" })
		names = slices.DeleteFunc(names, func(name string) bool { return badFileName(name) != "" })
		slices.SortFunc(names, CompareNumbered)
		settings := map[string]Hook{}
		for k, h := range lists.Of(e) {
			if settings[h.File] = h; h.File != "" && !slices.Contains(names, h.File) {
				problems = append(problems, Problem{Path: source(e, k), Fatal: true, Hint: suggestion(h.File, names),
					Message: fmt.Sprintf("there is no hook file %s", filepath.Join(folder, h.File))})
			}
		}
		for _, name := range slices.Concat(names, bad) {
			path := filepath.Join(folder, name)
			h := ResolvedHook{Event: e, Source: path, Path: path, Unmet: badFileName(name)}
			if h.Unmet == "" {
				h.Hook, h.File = settings[name], name
			} else {
				problems = append(problems, Problem{Path: path, Message: ignored + h.Unmet,
					Hint: "a hook is called NN-name, such as 50-register or 50-register.sh"})
			}
			h.Name = cmp.Or(h.Name, name)
			h.Hook = h.WithDefaults()
			out = append(out, h)
		}
	}
	return out, problems
}

// readDir lists the names in a folder, without those of a mounted ConfigMap (..data).
func readDir(dir string) (names []string, problems []Problem) {
	entries, err := untrusted.ReadDir(dir, maxFiles)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, []Problem{{Path: dir, Message: "cannot read the folder of hooks: " + err.Error(), Fatal: true}}
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "..") {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// CompareNumbered compares names that begin with a number by it, and then by their text.
func CompareNumbered(a, b string) int {
	return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a, b))
}

// badFileName is why a name is not that of a hook file; empty: it is.
func badFileName(name string) string {
	digits := len(name) - len(strings.TrimLeft(name, "0123456789"))
	rest, dash := strings.CutPrefix(name[digits:], "-")
	switch {
	case strings.HasPrefix(name, "."):
		return "its name begins with a dot"
	case strings.HasSuffix(name, "~"):
		return "it is a backup file"
	case digits < 1 || digits > 4:
		return "its name does not begin with one to four digits"
	case !dash || rest == "":
		return "behind the number there is no - with a name"
	case !validName(rest):
		return "its name has other characters than letters, digits, _ . -"
	}
	// Editors and package managers leave files with a dot: x.bak, x.sh.rpmsave, x.1.
	if stem, extension, dot := strings.Cut(rest, "."); dot && (stem == "" || !slices.Contains(extensions, extension)) {
		return "a name with a dot must end with ." + strings.Join(extensions, ", .") + ", and have no other dot"
	}
	return ""
}

// extensions are those that a hook file may have.
var extensions = []string{"sh", "bash", "zsh", "py", "pl", "rb", "js", "lua", "php"}

// maxName bounds the name of a hook, in bytes.
const maxName = 64

var namePattern = lazyregexp.New(`^[A-Za-z0-9_.-]+$`)

func validName(name string) bool { return len(name) <= maxName && namePattern().MatchString(name) }

// CheckName checks the name of a hook.
func CheckName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("the name has %d bytes, and %d are allowed", len(name), maxName)
	case !validName(name):
		return fmt.Errorf("%q is not the name of a hook: it has letters, digits, _ . - only", name)
	}
	return nil
}

// CheckFileName checks the name of a hook file.
func CheckFileName(name string) error {
	if why := badFileName(name); why != "" {
		return fmt.Errorf("%q is not the name of a hook file: %s", name, why)
	}
	return nil
}

// number is the number at the beginning of a file name.
func number(name string) int {
	digits := len(name) - len(strings.TrimLeft(name, "0123456789"))
	n, _ := strconv.Atoi(name[:digits]) // the name was checked
	return n
}

// suggestion is a hint at the word that was probably meant; empty: none is similar.
func suggestion(got string, known []string) string {
	if word, ok := suggest.Nearest(got, known); ok {
		return fmt.Sprintf("did you mean %q?", word)
	}
	return ""
}
