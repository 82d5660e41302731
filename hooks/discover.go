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

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Problem is something about a tree of hook files that its owner should know.
type Problem struct {
	Path    string // of the file or folder, or where the entry stands
	Message string
	Hint    string // what to do; empty: nothing is known
	// Fatal says that the tree is not as somebody wants it: an entry names a file that
	// is not there, or a folder cannot be read. What is not fatal was left out.
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

// folderSuffix ends the name of an event's folder.
const folderSuffix = ".d"

// Discover binds the hook files below a folder: EVENT.d/NN-name, of each event in
// the order of the numbers and then of the bytes. Entries of lists that name such a
// file give it its settings; source says where the one of a number stands. A folder
// that is not there holds none. What has another name is listed behind them, Unmet.
func Discover(dir string, lists *ByEvent, source func(e lifecycle.Event, k int) string) ([]ResolvedHook, []Problem) {
	var out []ResolvedHook
	problems := unknownFolders(dir)
	for _, e := range lifecycle.Events() {
		names, more := fileNames(filepath.Join(dir, string(e)+folderSuffix))
		problems = append(problems, more...)
		ignored := slices.DeleteFunc(more, func(p Problem) bool { return p.Fatal })
		settings := map[string]Hook{}
		for k, h := range lists.Of(e) {
			switch {
			case h.File == "":
			case !slices.Contains(names, h.File):
				problems = append(problems, Problem{Path: source(e, k), Fatal: true, Hint: nearest(h.File, names),
					Message: fmt.Sprintf("there is no hook file %s", filepath.Join(dir, string(e)+folderSuffix, h.File))})
			default:
				settings[h.File] = h
			}
		}
		for _, name := range names {
			h := settings[name].WithDefaults()
			h.File, h.Name = name, cmp.Or(h.Name, name)
			path := filepath.Join(dir, string(e)+folderSuffix, name)
			out = append(out, ResolvedHook{Hook: h, Event: e, Source: path, Path: path})
		}
		for _, p := range ignored {
			h := Hook{Name: filepath.Base(p.Path)}.WithDefaults()
			out = append(out, ResolvedHook{Hook: h, Event: e, Source: p.Path, Path: p.Path, Unmet: strings.TrimPrefix(p.Message, "is ignored: ")})
		}
	}
	return out, problems
}

// strange finds what is no event's folder.
func unknownFolders(dir string) (out []Problem) {
	entries, err := untrusted.ReadDir(dir, maxFiles)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []Problem{{Path: dir, Message: "cannot read the folder of hooks: " + err.Error(), Fatal: true}}
	}
	var known []string
	for _, e := range lifecycle.Events() {
		known = append(known, string(e)+folderSuffix)
	}
	for _, entry := range entries {
		name := entry.Name()
		// A mounted ConfigMap has ..data beside its files.
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "..") {
			out = append(out, Problem{Path: filepath.Join(dir, name), Message: "is ignored: it is not the folder of an event", Hint: nearest(name, known)})
		}
	}
	return out
}

// fileNames lists the names in an event's folder that count, in their order.
func fileNames(dir string) (names []string, problems []Problem) {
	entries, err := untrusted.ReadDir(dir, maxFiles)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []Problem{{Path: dir, Message: "cannot read the folder of hooks: " + err.Error(), Fatal: true}}
	}
	for _, entry := range entries {
		name := entry.Name()
		switch why := badFileName(name); {
		case strings.HasPrefix(name, ".."): // of a mounted ConfigMap
		case why != "":
			problems = append(problems, Problem{Path: filepath.Join(dir, name), Message: "is ignored: " + why,
				Hint: "a hook is called NN-name, such as 50-register or 50-register.sh"})
		default:
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a, b)) })
	return names, problems
}

// notAHook says why a name is not one of a hook; empty: it is.
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
	// What editors and package managers leave beside a file has a dot: x.bak, x.sh.rpmsave, x.1.
	if stem, extension, dot := strings.Cut(rest, "."); dot && (stem == "" || !slices.Contains(extensions(), extension)) {
		return "a name with a dot counts only if it ends with ." + strings.Join(extensions(), ", .") + " and has no other dot"
	}
	return ""
}

// extensions are those that a hook file may have.
func extensions() []string {
	return []string{"sh", "bash", "zsh", "py", "pl", "rb", "js", "lua", "php"}
}

// validName says whether a hook may be called so.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && strings.IndexFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-'
	}) < 0
}

// maxName bounds a hook's name, in bytes.
const maxName = 64

// CheckName says what is wrong with a hook's name.
func CheckName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("the name has %d bytes, and %d are allowed", len(name), maxName)
	case !validName(name):
		return fmt.Errorf("%q is not the name of a hook: it has letters, digits, _ . - only", name)
	}
	return nil
}

// CheckFileName says what is wrong with the name of a hook file.
func CheckFileName(name string) error {
	if why := badFileName(name); why != "" {
		return fmt.Errorf("%q is not the name of a hook file: %s", name, why)
	}
	return nil
}

// number is that which a name begins with.
func number(name string) int {
	digits := len(name) - len(strings.TrimLeft(name, "0123456789"))
	n, _ := strconv.Atoi(name[:digits]) // the form was looked at
	return n
}

// nearest is a hint at the word that was probably meant; empty: none is like it.
func nearest(got string, known []string) string {
	if word, ok := suggest.Nearest(got, known); ok {
		return fmt.Sprintf("did you mean %q?", word)
	}
	return ""
}
