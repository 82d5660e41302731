package launch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
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
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// Shared is the state that all JVMs of a container share across reloads.
type Shared struct {
	Labels func() map[string]string // current values
	// Plugins add options; nil: there are none.
	Plugins  *plugin.Set
	fetch    *remote.Fetcher
	checker  hotspot.Checker // caches preflight results
	Attacher *Attacher
	reports  sync.Map // service -> *Report of its latest start
}

// NewShared keeps answers of configuration services in stateFolder, or nowhere if it is empty.
func NewShared(stateFolder string) *Shared {
	s := &Shared{Attacher: NewAttacher(), fetch: &remote.Fetcher{Accept: acceptOptions}}
	if stateFolder != "" {
		s.fetch.Dir = filepath.Join(stateFolder, "jvm")
	}
	return s
}

// Report returns the report of the latest start of a service; nil: this supervisor has not started it.
func (s *Shared) Report(service string) *Report {
	if r, ok := s.reports.Load(service); ok {
		return r.(*Report)
	}
	return nil
}

// acceptOptions rejects a document that holds anything but options, such as the error page of a proxy. It does not check whether a JVM
// accepts them.
func acceptOptions(a remote.Answer) error {
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
	cfg         jvm.Config
	shared      *Shared
	serviceEnv  service.Environment // of the service, for conditions and URLs
	env         service.Environment // the same with the changes of setenv.sh, for option variables
	hookOptions []hooks.OutputOption
	variables   []variableOptions // option variables of the kind, weaker first
	own         *cgroup.Own       // nil: the JVM runs in the container's
	user        *asuser.User      // of the service; nil: stoker's own
	// flags reads the flags of the JVM; nil: the preflight check is off.
	flags          func(ctx context.Context, java string) map[string]jvm.FlagInfo
	java           int // the JVM's feature release; 0: unknown
	limits         jvm.Limits
	policy         jvm.Policy // with the flavor, which conditions may name
	notes          []string
	states         []SourceState
	hash           hash.Hash // over the content of files, folders and URLs
	files          []string  // named by options, as found by readConfigured; sorted
	fetched        map[string]fetched
	withoutPlugins []string            // plugins left out of this start
	pluginOptions  []plugin.JVMOptions // options of the plugins
}

// fetched is the answer of one URL.
type fetched struct {
	doc remote.Document
	err error
}

// input reads every source. A missing file or folder of the user layer is a note: a base image may name one for applications that do not
// have it.
func (l *sources) input(ctx context.Context) (in jvm.Input, err error) {
	if in, err = l.readConfigured(ctx); err != nil {
		return in, err
	}
	for _, o := range l.hookOptions { // variables of the operator override them
		in.User = append(in.User, jvm.ParseArgs(o.Source, []string{o.Option})...)
	}
	for _, name := range l.cfg.User.Env { // other layers reject it
		if err := l.variable(&in.User, name); err != nil {
			return in, err
		}
	}
	vars := jvm.ReadVariables()
	for k, name := range vars {
		if k == len(vars)-1 { // the strongest, after those of the kind
			for _, w := range l.variables {
				in.User = append(in.User, l.withSource(w)...)
			}
		}
		if name == "JDK_JAVA_OPTIONS" && l.java == 8 && l.env.Vars[name] != "" {
			in.Warnings = append(in.Warnings, jvm.Problem{Code: jvm.IgnoredEnv, Message: name + " does not count: Java 8 does not read it"})
			continue // it may be for a later release, on which this JVM would fail
		}
		if err := l.variable(&in.User, name); err != nil {
			return in, err
		}
		if strings.TrimSpace(l.env.Vars[name]) != "" {
			in.Warnings = append(in.Warnings, jvm.Problem{Code: jvm.IgnoredEnv,
				Message: name + " is part of the user layer now and taken out of the JVM's environment, where it would count for every JVM"})
		}
	}
	l.addUserPlugins(&in)
	in.Expand(optionFiles(l.user)) // those named by variables and plugins
	return in, nil
}

// readConfigured reads the sources outside the environment, and the files that their options name.
func (l *sources) readConfigured(ctx context.Context) (in jvm.Input, err error) {
	if err := l.chooseFlavor(); err != nil {
		return in, err
	}
	l.hash = sha256.New()
	l.fetchAll(ctx)
	for _, layer := range l.layers() {
		options, err := l.readLayer(layer)
		if err != nil {
			return in, err
		}
		switch layer.name {
		case jvm.Default:
			in.Default = options
		case jvm.User:
			in.User = options
		case jvm.Enforced:
			in.Enforced = options
		}
	}
	l.addPlugins(&in)
	read := optionFiles(l.user)
	in.Expand(func(layer jvm.Layer, path string) ([]byte, error) {
		data, err := read(layer, path)
		fmt.Fprintf(l.hash, "%q %d %v\n", path, len(data), err)
		l.hash.Write(data)
		l.files = append(l.files, absolutePath(path))
		return data, err
	})
	slices.Sort(l.files)
	l.files = slices.Compact(l.files)
	return in, nil
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

// digest returns a fingerprint of what readConfigured has read: what can change without a change of the configuration.
func (l *sources) digest() string { return hex.EncodeToString(l.hash.Sum(nil)[:16]) }

// layer is the configuration of one layer.
type layer struct {
	name jvm.Layer
	path string // in the configuration
	cfg  jvm.LayerConfig
}

func (l *sources) layers() []layer {
	return []layer{{jvm.Default, "jvm.default", l.cfg.Default}, {jvm.User, "jvm.user", l.cfg.User}, {jvm.Enforced, "jvm.enforced",
		l.cfg.Enforced}}
}

// readLayer reads the sources of one layer, weaker first.
func (l *sources) readLayer(n layer) ([]jvm.Option, error) {
	var inline []string
	for k, o := range n.cfg.Options {
		if l.applies(n, fmt.Sprintf("%s.options[%d]", n.path, k), o.When) {
			inline = append(inline, o.Option)
		}
	}
	out := jvm.ParseArgs(n.path+".options", inline)
	for _, d := range n.cfg.Dirs {
		files, err := l.dir(n, d)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := l.file(&out, n, "dirs", file, jvm.ParseFile); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range n.cfg.Files {
		if l.applies(n, f.File, f.When) {
			if err := l.file(&out, n, "files", f.File, jvm.ParseFile); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range n.cfg.Argfiles {
		if l.applies(n, f.File, f.When) {
			if err := l.file(&out, n, "argfiles", f.File, jvm.ParseArgfile); err != nil {
				return nil, err
			}
		}
	}
	for k, u := range n.cfg.URLs {
		if err := l.document(&out, n, k, u); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// applies reports whether the condition of a source holds in this container.
func (l *sources) applies(n layer, source string, when jvm.When) bool {
	ok, why := when.Matches(l.serviceEnv.Vars, l.shared.Labels(), l.policy.ProfileName())
	if !ok {
		l.record(n, source, sourceSkipped, why, nil)
	}
	return ok
}

func (l *sources) record(n layer, source, state, why string, at *time.Time) {
	l.states = append(l.states, SourceState{string(n.name), source, state, why, at})
}

// noteMissing notes a missing file or folder of the user layer.
func (l *sources) noteMissing(n layer, what, path string) {
	l.notes = append(l.notes, fmt.Sprintf("no JVM options in %s: there is no such %s", path, what))
	l.record(n, path, sourceMissing, "", nil)
	fmt.Fprintf(l.hash, "%q missing\n", path)
}

// dir lists the option files of a folder.
func (l *sources) dir(n layer, d jvm.Dir) ([]string, error) {
	if !l.applies(n, d.Dir, d.When) {
		return nil, nil
	}
	entries, err := untrusted.ReadDir(d.Dir, maxOptionFiles) // in byte order
	switch {
	case n.name == jvm.User && errors.Is(err, fs.ErrNotExist):
		l.noteMissing(n, "folder", d.Dir)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read JVM options (%s.dirs): %s: %w", n.path, d.Dir, err)
	}
	var out []string
	for _, e := range entries {
		path := filepath.Join(d.Dir, e.Name())
		if !optionFileName(e.Name()) {
			continue
		}
		// A mounted ConfigMap holds links to its files. In the enforced layer an unreadable entry is an error.
		if info, err := os.Stat(path); n.name != jvm.Enforced && err == nil && !info.Mode().IsRegular() {
			continue
		}
		out = append(out, path)
	}
	if len(out) == 0 {
		l.record(n, d.Dir, sourceRead, "it holds no *.opts file", nil)
	}
	return out, nil
}

// optionFileName reports whether a folder entry is read. Names that begin with a dot are skipped: editors and mounted ConfigMaps create
// such files.
func optionFileName(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".opts")
}

// file adds the options of a file.
func (l *sources) file(to *[]jvm.Option, n layer, key, path string, parse func(name, content string) []jvm.Option) error {
	data, err := readOptionFile(l.user, n.name, path)
	switch {
	case n.name == jvm.User && errors.Is(err, fs.ErrNotExist):
		l.noteMissing(n, "file", path)
		return nil
	case err != nil:
		return fmt.Errorf("cannot read JVM options (%s.%s): %s: %w", n.path, key, path, err)
	}
	fmt.Fprintf(l.hash, "%q %d\n", path, len(data))
	l.hash.Write(data)
	l.record(n, path, sourceRead, "", nil)
	*to = append(*to, parse(path, string(data))...)
	return nil
}

// fetchAll fetches all applicable URLs in parallel. Each has its own deadline.
func (l *sources) fetchAll(ctx context.Context) {
	l.fetched = map[string]fetched{}
	var all sync.WaitGroup
	var mu sync.Mutex // guards fetched
	for _, n := range l.layers() {
		for k, u := range n.cfg.URLs {
			if ok, _ := u.When.Matches(l.serviceEnv.Vars, l.shared.Labels(), l.policy.ProfileName()); !ok {
				continue
			}
			all.Go(func() {
				doc, err := l.shared.fetch.Fetch(ctx, sourceOf(u), remote.Variables(l.serviceEnv.Vars, l.shared.Labels()))
				mu.Lock()
				defer mu.Unlock()
				l.fetched[urlID(n, k)] = fetched{doc, err}
			})
		}
	}
	all.Wait()
}

func urlID(n layer, k int) string { return fmt.Sprintf("%s.urls[%d]", n.path, k) }

// sourceOf converts a URL for package remote.
func sourceOf(u jvm.URL) remote.Source {
	return remote.Source{URL: u.URL, Timeout: u.Timeout, Deadline: u.Deadline, RequireFresh: u.RequireFresh, Headers: u.Headers,
		CAFile: u.CAFile}
}

// document adds the options of a URL.
func (l *sources) document(to *[]jvm.Option, n layer, k int, u jvm.URL) error {
	if !l.applies(n, redact.URL(u.URL), u.When) {
		return nil
	}
	got := l.fetched[urlID(n, k)]
	if got.err != nil {
		return fmt.Errorf("cannot read JVM options (%s): %w", urlID(n, k), got.err)
	}
	doc, at := got.doc, got.doc.Time.UTC().Truncate(time.Second)
	state, why := sourceRead, ""
	if doc.Stale != nil {
		state, why = sourceCopy, doc.Stale.Error()
		l.notes = append(l.notes, fmt.Sprintf("JVM options of %s are from the copy of %s ago: %v", doc.URL,
			layout.Duration(time.Since(doc.Time)), doc.Stale))
	}
	if doc.Damaged != nil {
		l.notes = append(l.notes, fmt.Sprintf("the last good answer of %s could not have been used: %v", doc.URL, doc.Damaged))
	}
	if note := "the answers of configuration services are not kept: "; doc.Unkept != nil && !slices.ContainsFunc(l.notes,
		func(n string) bool { return strings.HasPrefix(n, note) }) {
		l.notes = append(l.notes, note+doc.Unkept.Error())
	}
	fmt.Fprintf(l.hash, "%q %q %q\n", doc.URL, doc.Text, doc.List)
	l.record(n, doc.URL, state, why, &at)
	options := append(jvm.ParseFile(doc.URL, doc.Text), jvm.ParseArgs(doc.URL, doc.List)...)
	for i := range options {
		options[i].Source += ", as of " + at.Format(time.RFC3339)
	}
	*to = append(*to, options...)
	return nil
}

// render sizes and merges the options and adds notes for the operator.
func (l *sources) render(ctx context.Context, java hotspot.JVM, found string, maxThreads int) (*Report, error) {
	l.java = java.Major
	in, err := l.input(ctx)
	if err != nil {
		return nil, err
	}
	in.Limits, in.Policy, in.Env, in.JVMAsked = l.limits, l.policy, l.env.Vars, preflightEnabled(l.cfg)
	in.Target = jvm.Target{JavaMajor: java.Major, JavaVersion: java.Version, Arch: java.Arch, MaxThreads: maxThreads}
	if l.flags != nil && in.NamesFlags() {
		in.Target.Flags = l.flags(ctx, java.Java)
	}
	result, err := jvm.Render(in)
	facts := &Report{JVM: java, Found: found, Result: result, Sources: append([]SourceState{}, l.states...), limits: l.limits,
		sourceDigest: l.digest(), cgroup: l.own,
		plugins: l.pluginNames()}
	for _, w := range result.Warnings {
		if jvm.VersionDependent(w.Code) {
			continue // the preflight check reports it
		}
		l.notes = append(l.notes, "JVM options: "+w.Message)
	}
	if err != nil {
		return facts, &OptionsError{fmt.Errorf("cannot size the JVM: %w", err)}
	}
	if err := result.Err(); err != nil {
		return facts, &OptionsError{fmt.Errorf("cannot use the JVM options: %w", err)}
	}
	return facts, nil
}

// filesOf returns the files and folders to watch, whether they apply now or not.
func filesOf(c jvm.Config) (files, dirs []string) {
	for _, n := range (&sources{cfg: c}).layers() {
		for _, d := range n.cfg.Dirs {
			dirs = append(dirs, d.Dir)
		}
		for _, f := range slices.Concat(n.cfg.Files, n.cfg.Argfiles) {
			files = append(files, f.File)
		}
	}
	return files, dirs
}
