package launch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/archive"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// Shared is the state that all JVMs of a container share across reloads.
type Shared struct {
	Labels func() map[string]string // current values
	// Plugins add options; nil: there are none.
	Plugins  *plugin.Set
	fetch    *remote.Fetcher[remote.Answer]
	checker  hotspot.Checker // caches preflight results
	Attacher *Attacher
	Runtime  string // folder for the server.xml of starts, made on demand; empty: nothing is writable
	Owner    string // begins the names in Runtime, which stokers may share; the same in all supervisors of an init
	// Store keeps the reports for the next supervisor; nil: nothing does.
	Store *fdstore.Store
	// Training returns how the next start of a service is made while an archive of it is made; nil, or a nil result: an ordinary start.
	Training func(service string) *Training
	archives archive.Checker // remembers checksums
	// ArchiveDir is the folder of archives without jvm.archive_dir; empty: none.
	ArchiveDir string
	reports    sync.Map // service -> *Report of its latest start
	setenvs    sync.Map // service of kind tomcat -> tomcat.SetenvResult of its latest start
}

// NewShared keeps answers of configuration services in stateFolder, or nowhere if it is empty.
func NewShared(stateFolder string) *Shared {
	s := &Shared{Attacher: NewAttacher(), fetch: &remote.Fetcher[remote.Answer]{Accept: acceptOptions}}
	if stateFolder != "" {
		s.fetch.Dir, s.ArchiveDir = filepath.Join(stateFolder, "jvm"), filepath.Join(stateFolder, "archives")
	}
	return s
}

// reportPrefix begins the names of items of the fd store: the report of a service's latest start.
const reportPrefix = "jvm/"

// savedReport is a Report in the fd store.
type savedReport struct {
	Report *Report
	Limits jvm.Limits
}

// keep notes the report of a start.
func (s *Shared) keep(service string, r *Report) {
	s.reports.Store(service, r)
	if s.Store != nil {
		_ = s.Store.PutJSON(reportPrefix+service, savedReport{r, r.limits}) // without it the next supervisor cannot explain this start
	}
}

// Restore takes the reports of the supervisor before.
func (s *Shared) Restore(items fdstore.Items) {
	for _, name := range items.Names(reportPrefix) {
		var v savedReport
		if found, err := items.TakeJSON(name, &v); found && err == nil && v.Report != nil {
			v.Report.limits = v.Limits
			s.reports.Store(name[len(reportPrefix):], v.Report)
		}
	}
}

// Report returns the report of the latest start of a service; nil: there was none. That of an earlier supervisor has no command line.
func (s *Shared) Report(service string) *Report {
	if r, ok := s.reports.Load(service); ok {
		return r.(*Report)
	}
	return nil
}

// acceptOptions parses a document, and rejects one that holds anything but options, such as the error page of a proxy. It does not
// check whether a JVM accepts them.
func acceptOptions(contentType string, body []byte) (remote.Answer, error) {
	a, err := remote.ParseAnswer(contentType, body)
	if err != nil {
		return a, err
	}
	return a, onlyOptions(a)
}

func onlyOptions(a remote.Answer) error {
	if a.List == nil && strings.TrimSpace(a.Text) == "" {
		return errors.New("it is empty (for no options answer [] or a comment)")
	}
	for k, o := range append(jvm.ParseFile("", a.Text), jvm.ParseArgs("", a.List)...) {
		if !strings.HasPrefix(o.Args[0], "-") && !strings.HasPrefix(o.Args[0], "@") {
			return fmt.Errorf("option %d does not begin with -", k+1)
		}
	}
	return nil
}

// States of a source.
const (
	sourceRead    = "read"
	sourceSkipped = "skipped"
	sourceMissing = "missing"
	sourceCopy    = "copy" // the last good answer of a URL
)

// SourceState is the state of one file, folder or URL, for explain.
type SourceState struct {
	Layer  string `json:"layer"`
	Source string `json:"source"`
	State  string `json:"state"`
	Why    string `json:"why,omitempty"`
	// Time is when the service gave or confirmed the answer of a URL; nil for files.
	Time *time.Time `json:"time,omitempty"`
}

// sources reads the sources of the three layers once.
type sources struct {
	cfg            jvm.Config
	shared         *Shared
	serviceEnv     service.Environment // of the service, for conditions and URLs
	env            service.Environment // the same with the changes of setenv.sh, for option variables
	hookOptions    []hooks.OutputOption
	kind           kindVariables
	own            *cgroup.Own  // nil: the JVM runs in the container's
	user           *asuser.User // of the service; nil: stoker's own
	java           int          // the JVM's feature release; 0: unknown
	withoutPlugins []string     // plugins left out of this start

	limits        jvm.Limits
	policy        jvm.Policy // with the flavor, which conditions may name
	notes         []string
	states        []SourceState
	digest        string                                                    // fingerprint of what readConfigured has read, and of the limits
	files         []string                                                  // named by options, as found by readConfigured; sorted
	fetched       map[string]func() (remote.Document[remote.Answer], error) // by urlID; each waits for its answer
	pluginOptions []plugin.JVMOptions                                       // options of the plugins
	err           error                                                     // the first error of a source
}

// readConfigured reads the sources outside the environment, and the files that their options name.
func (l *sources) readConfigured(ctx context.Context) (in jvm.Input, err error) {
	if err := l.chooseFlavor(); err != nil {
		return in, err
	}
	l.fetchAll(ctx)
	layers := l.layers()
	in.Default, in.User, in.Enforced = l.readLayer(layers[0]), l.readLayer(layers[1]), l.readLayer(layers[2])
	if l.err != nil {
		return in, l.err
	}
	userPlugins := l.addPlugins(&in)
	hash := sha256.New()
	for _, options := range [][]jvm.Option{in.Default, in.User, in.Enforced, userPlugins} {
		for _, o := range options {
			fmt.Fprintf(hash, "%q\n", o.Args)
		}
		fmt.Fprintln(hash, "end")
	}
	read := optionFiles(l.user)
	in.Expand(func(layer jvm.Layer, path string) ([]byte, error) {
		data, err := read(layer, path)
		fmt.Fprintf(hash, "%q %q %v\n", path, data, err)
		l.files = append(l.files, absolutePath(path))
		return data, err
	})
	slices.Sort(l.files)
	l.files, l.digest = slices.Compact(l.files), hex.EncodeToString(hash.Sum(nil)[:16])+" "+l.limits.Key()
	return in, nil
}

// sourcesOf returns the part of a digest without the limits.
func sourcesOf(digest string) string {
	sources, _, _ := strings.Cut(digest, " ")
	return sources
}

// chooseFlavor detects the limits and selects the flavor.
func (l *sources) chooseFlavor() (err error) {
	var warnings []cgroup.Warning
	l.limits, warnings = ReadLimits(l.own)
	for _, w := range warnings {
		l.notes = append(l.notes, "limits: "+w.Message)
	}
	if l.policy, err = l.cfg.Policy(jvm.Container{Env: l.serviceEnv.Vars, Labels: l.shared.Labels(), Limits: l.limits}); err != nil {
		return fmt.Errorf("cannot size the JVM: %w", err)
	}
	return nil
}

// layer is the configuration of one layer.
type layer struct {
	name jvm.Layer
	path string // in the configuration
	cfg  jvm.LayerConfig
}

func (l *sources) layers() [3]layer {
	return [3]layer{{jvm.Default, "jvm.default", l.cfg.Default}, {jvm.User, "jvm.user", l.cfg.User},
		{jvm.Enforced, "jvm.enforced", l.cfg.Enforced}}
}

// readLayer reads the sources of one layer, weaker first. It keeps the first error in l.err.
func (l *sources) readLayer(n layer) []jvm.Option {
	var inline []string
	for k, o := range n.cfg.Options {
		if l.applies(n, fmt.Sprintf("%s.options[%d]", n.path, k), o.When) {
			inline = append(inline, o.Option)
		}
	}
	out := jvm.ParseArgs(n.path+".options", inline)
	for _, d := range n.cfg.Dirs {
		for _, file := range l.dir(n, d) {
			out = append(out, l.file(n, "dirs", file, jvm.ParseFile)...)
		}
	}
	for _, f := range n.cfg.Files {
		if l.applies(n, f.File, f.When) {
			out = append(out, l.file(n, "files", f.File, jvm.ParseFile)...)
		}
	}
	for _, f := range n.cfg.Argfiles {
		if l.applies(n, f.File, f.When) {
			out = append(out, l.file(n, "argfiles", f.File, jvm.ParseArgfile)...)
		}
	}
	for k, u := range n.cfg.URLs {
		if l.applies(n, redact.URL(u.URL), u.When) {
			out = append(out, l.document(n, urlID(n, k))...)
		}
	}
	return out
}

// applies reports whether the condition of a source holds in this container, and records a source that is skipped.
func (l *sources) applies(n layer, source string, when jvm.When) bool {
	ok, why := l.matches(when)
	if !ok {
		l.record(n, source, sourceSkipped, why, nil)
	}
	return ok
}

func (l *sources) matches(when jvm.When) (ok bool, why string) {
	return when.Matches(l.serviceEnv.Vars, l.shared.Labels(), l.policy.ProfileName())
}

func (l *sources) record(n layer, source, state, why string, at *time.Time) {
	l.states = append(l.states, SourceState{string(n.name), source, state, why, at})
}

// unreadable handles an unreadable file or folder (what). If it is missing in the user layer, that is a note: a base image may name one
// for applications that do not have it.
func (l *sources) unreadable(n layer, key, what, path string, err error) {
	if n.name == jvm.User && errors.Is(err, fs.ErrNotExist) {
		l.notes = append(l.notes, fmt.Sprintf("no JVM options in %s: there is no such %s", path, what))
		l.record(n, path, sourceMissing, "", nil)
		return
	}
	l.err = cmp.Or(l.err, fmt.Errorf("cannot read JVM options (%s.%s): %s: %w", n.path, key, path, err))
}

// dir lists the option files of a folder.
func (l *sources) dir(n layer, d jvm.Dir) (files []string) {
	if !l.applies(n, d.Dir, d.When) {
		return nil
	}
	entries, err := untrusted.ReadDir(d.Dir, maxOptionFiles) // in byte order
	if err != nil {
		l.unreadable(n, "dirs", "folder", d.Dir, err)
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(d.Dir, e.Name())
		if !optionFileName(e.Name()) {
			continue
		}
		// A mounted ConfigMap holds links to its files. In the enforced layer an unreadable entry is an error.
		if info, err := os.Stat(path); n.name != jvm.Enforced && err == nil && !info.Mode().IsRegular() {
			continue
		}
		files = append(files, path)
	}
	if len(files) == 0 {
		l.record(n, d.Dir, sourceRead, "it holds no *.opts file", nil)
	}
	return files
}

// optionFileName reports whether a folder entry is read. Names that begin with a dot are skipped: editors and mounted ConfigMaps create
// such files.
func optionFileName(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".opts")
}

// file returns the options of a file.
func (l *sources) file(n layer, key, path string, parse func(name, content string) []jvm.Option) []jvm.Option {
	data, err := readOptionFile(l.user, n.name, path)
	if err != nil {
		l.unreadable(n, key, "file", path, err)
		return nil
	}
	l.record(n, path, sourceRead, "", nil)
	return parse(path, string(data))
}

// urls yields the applicable URLs and their places in the configuration.
func (l *sources) urls() iter.Seq2[string, jvm.URL] {
	return func(yield func(string, jvm.URL) bool) {
		for _, n := range l.layers() {
			for k, u := range n.cfg.URLs {
				if ok, _ := l.matches(u.When); ok && !yield(urlID(n, k), u) {
					return
				}
			}
		}
	}
}

func urlID(n layer, k int) string { return fmt.Sprintf("%s.urls[%d]", n.path, k) }

// fetchAll starts to fetch all applicable URLs. Each has its own deadline.
func (l *sources) fetchAll(ctx context.Context) {
	l.fetched = map[string]func() (remote.Document[remote.Answer], error){}
	for id, u := range l.urls() {
		fetch := sync.OnceValues(func() (remote.Document[remote.Answer], error) {
			return l.shared.fetch.Fetch(ctx, sourceOf(u), remote.Variables(l.serviceEnv.Vars, l.shared.Labels()))
		})
		l.fetched[id] = fetch
		go func() { _, _ = fetch() }() // ends with its deadline; document returns the error
	}
}

// sourceOf converts a URL for package remote.
func sourceOf(u jvm.URL) remote.Source {
	return remote.Source{URL: u.URL, Timeout: u.Timeout, Deadline: u.Deadline, RequireFresh: u.RequireFresh, Headers: u.Headers,
		CAFile: u.CAFile}
}

// document returns the options of a URL.
func (l *sources) document(n layer, id string) []jvm.Option {
	doc, err := l.fetched[id]()
	if err != nil {
		l.err = cmp.Or(l.err, fmt.Errorf("cannot read JVM options (%s): %w", id, err))
		return nil
	}
	at := doc.Time.UTC().Truncate(time.Second)
	state, why := sourceRead, ""
	if doc.Stale != nil {
		state, why = sourceCopy, doc.Stale.Error()
		l.notes = append(l.notes, fmt.Sprintf("JVM options of %s are from the copy of %s ago: %v", doc.URL,
			layout.Duration(time.Since(doc.Time)), doc.Stale))
	}
	if doc.Damaged != nil {
		l.notes = append(l.notes, fmt.Sprintf("the last good answer of %s could not have been used: %v", doc.URL, doc.Damaged))
	}
	if doc.Unkept != nil {
		if note := "the answers of configuration services are not kept: " + doc.Unkept.Error(); !slices.Contains(l.notes, note) {
			l.notes = append(l.notes, note)
		}
	}
	l.record(n, doc.URL, state, why, &at)
	options := append(jvm.ParseFile(doc.URL, doc.Value.Text), jvm.ParseArgs(doc.URL, doc.Value.List)...)
	for i := range options {
		options[i].Source += ", as of " + at.Format(time.RFC3339)
	}
	return options
}

// addPlugins adds the plugin options of the configured layers, and returns those of the user layer, which follow its variables.
func (l *sources) addPlugins(in *jvm.Input) (user []jvm.Option) {
	if l.shared.Plugins != nil {
		l.pluginOptions = l.shared.Plugins.JVMOptions(l.withoutPlugins)
	}
	for _, c := range l.pluginOptions {
		in.Default = append(in.Default, c.Options[jvm.Default]...)
		user = append(user, c.Options[jvm.User]...)
		in.Enforced = append(in.Enforced, c.Options[jvm.Enforced]...)
		for _, n := range l.layers() {
			if len(c.Options[n.name]) > 0 {
				l.record(n, "plugin "+c.Name, sourceRead, "", nil)
			}
		}
	}
	return user
}

// watchedFiles returns the files and folders of the configuration, whether they apply now or not, and the files that its options name.
func (l *sources) watchedFiles() (files, dirs, named []string) {
	for _, n := range l.layers() {
		for _, d := range n.cfg.Dirs {
			dirs = append(dirs, d.Dir)
		}
		for _, f := range slices.Concat(n.cfg.Files, n.cfg.Argfiles) {
			files = append(files, f.File)
		}
		for _, o := range n.cfg.Options {
			if path, ok := jvm.OptionFile(o.Option); ok {
				named = append(named, absolutePath(path))
			}
		}
	}
	slices.Sort(named)
	return files, dirs, slices.Compact(named)
}
