package launch

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/archive"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// Training says how a start of a service is made while an archive of it is made. Agents and the options of remote management are left out
// of every such start, and Tomcat's libraries are on its class path in those with an archive.
type Training struct {
	Step TrainingStep
	// File is the archive that the JVM writes, or uses without a check.
	File string
	// Options are added as the last ones of the JVM, such as a smaller heap.
	Options []string
	// Identified gets the identity of the service's ordinary starts, for archive.Keep, or why they use no archive; nil: not wanted.
	Identified func(id archive.Identity, err error)
}

// TrainingStep is one of the starts of a training.
type TrainingStep int

// The starts of a training.
const (
	TrainPlain  TrainingStep = iota // without an archive
	TrainRecord                     // the JVM writes it when it ends
	TrainUse                        // with it
)

// training returns how this start is made; nil: it is an ordinary one.
func (l *Launcher) training() *Training {
	if l.shared.Training == nil {
		return nil
	}
	return l.shared.Training(l.Name)
}

// ArchiveUse is the class archive of a start.
type ArchiveUse struct {
	Path  string        `json:"path,omitempty"` // empty: none is used
	Why   string        `json:"why,omitempty"`  // none is used
	Size  int64         `json:"size,omitempty"`
	Made  *time.Time    `json:"made,omitempty"`
	Times archive.Times `json:"times,omitzero"`
}

// text describes it in one line.
func (a *ArchiveUse) text(now time.Time) string {
	if a.Path == "" {
		return "class archive: none is used: " + a.Why
	}
	text := fmt.Sprintf("class archive: %s (%s, made %s ago)", a.Path, jvm.SizeText(a.Size), layout.Duration(now.Sub(*a.Made)))
	if a.Times.With > 0 && a.Times.Without > 0 {
		text += fmt.Sprintf("; ready after %s instead of %s when it was made", layout.Duration(a.Times.With), layout.Duration(a.Times.Without))
	}
	return text
}

// applyArchive adds the class archive of the service to the command line of a plan. It starts no process. The error is jvm.archive: require
// without an archive that fits.
func (l *Launcher) applyArchive(p *plan) error {
	if t := l.training(); t != nil {
		return l.train(p, t)
	}
	mode, dir := cmp.Or(l.JVM.Archive, jvm.ArchiveAuto), cmp.Or(l.JVM.ArchiveDir, l.shared.ArchiveDir)
	switch {
	case mode == jvm.ArchiveOff:
		p.report.Archive = &ArchiveUse{Why: "jvm.archive is off"}
		return nil
	case mode == jvm.ArchiveAuto && !archive.Any(dir, l.Name):
		if archive.Supported(p.java.Major) == nil {
			p.report.Archive = &ArchiveUse{Why: "there is none; stoker jvm archive " + l.Name + " makes one"}
		}
		return nil
	}
	all, err := l.archivable(p)
	remedy := err == nil // a new archive
	var found archive.Archive
	var use archived
	if err == nil {
		found, use, err = l.findArchive(all, dir)
	}
	if err == nil {
		err = l.readableByService(found.Path)
	}
	if err == nil {
		p.report.Archive = &ArchiveUse{Path: found.Path, Size: found.Size, Made: &found.Made, Times: found.Times}
		p.report.argv = use.argv(archive.UseOptions(p.java.Major, found.Path))
		return nil
	}
	p.report.Archive = &ArchiveUse{Why: err.Error()}
	command, next := "", ""
	if remedy {
		command = "stoker jvm archive " + l.Name
		next = "; " + command + " makes a new one"
		command += " makes one; "
	}
	if mode == jvm.ArchiveRequire {
		return fmt.Errorf("cannot use a class archive of %s: %w\nhint: %sjvm.archive: auto starts without", l.Name, err, command)
	}
	p.warnings = append(p.warnings, fmt.Sprintf("started without the class archive: %v%s", err, next))
	return nil
}

// archived is a command line to use an archive with.
type archived struct {
	plan      *plan
	classPath []string
	at        int // index of the class path in the command line; 0: it stays
	id        archive.Identity
}

// argv returns the command line with options before the others.
func (a archived) argv(options []string) []string {
	argv := slices.Clone(a.plan.report.argv)
	if a.at > 0 {
		argv[a.at] = strings.Join(a.classPath, ":")
	}
	return slices.Insert(argv, 1, options...)
}

// withoutArchive returns the command line of a JVM as it would be without a class archive. like is one of the same service without.
func withoutArchive(argv, like []string) []string {
	for _, major := range []int{archive.FirstMajor, archive.FirstCache} {
		use := archive.UseOptions(major, "")
		if len(argv) <= len(use) || argv[1] != use[0] || !strings.HasPrefix(argv[2], use[1]) {
			continue
		}
		out := slices.Delete(slices.Clone(argv), 1, 1+len(use))
		at, own := slices.Index(out, "-classpath")+1, slices.Index(like, "-classpath")+1
		if at > 0 && at < len(out) && own > 0 && own < len(like) && strings.HasPrefix(out[at], like[own]+":") {
			out[at] = like[own] // Tomcat's libraries follow
		}
		return out
	}
	return argv
}

// findArchive returns the archive that fits one of the command lines that the service may have.
func (l *Launcher) findArchive(all []archived, dir string) (archive.Archive, archived, error) {
	var first error // that of the best class path
	for _, a := range all {
		found, err := l.shared.archives.Find(dir, l.Name, a.id)
		if err == nil {
			return found, a, nil
		}
		first = cmp.Or(first, err)
	}
	return archive.Archive{}, archived{}, first
}

// archivable returns the command lines with which the service can use or make an archive, the best first.
func (l *Launcher) archivable(p *plan) (out []archived, err error) {
	if err := archive.Supported(p.java.Major); err != nil {
		return nil, err
	}
	if why := archive.Unsuitable(p.java.Major, p.options); why != "" {
		return nil, errors.New(why)
	}
	if p.report.flags == nil {
		return nil, errors.New("the JVM has not been asked for its flags (jvm.check)")
	}
	paths, at := l.kind.classPaths(p)
	dir := cmp.Or(p.dir, l.Spec(nil).Dir, "/")
	for _, path := range paths {
		whole := slices.Clone(path)
		for k, entry := range whole {
			if !filepath.IsAbs(entry) {
				whole[k] = filepath.Join(dir, entry)
			}
		}
		id, err := l.shared.archives.Identify(p.java, p.options, whole, p.report.flags)
		if err != nil {
			return nil, err
		}
		out = append(out, archived{p, path, at, id})
	}
	return out, nil
}

// readableByService returns an error if the service's user cannot read a file.
func (l *Launcher) readableByService(path string) error {
	open := func() error {
		f, err := untrusted.Open(path)
		if err != nil {
			return fmt.Errorf("the service's user cannot read %s: %w", path, untrusted.Cause(err))
		}
		return f.Close()
	}
	if l.User == nil || os.Geteuid() != 0 {
		return open()
	}
	return l.User.Identity().Do(open)
}

// train makes the command line of a start of a training.
func (l *Launcher) train(p *plan, t *Training) error {
	all, err := l.archivable(p)
	var best archived
	if err == nil {
		best = all[0]
	}
	if t.Identified != nil {
		t.Identified(best.id, err)
	}
	if err != nil {
		return fmt.Errorf("cannot make a class archive of %s: %w", l.Name, err)
	}
	main := len(p.options) + 1
	options := append(hotspot.WithoutEffects(p.options), t.Options...)
	options = append(options, archive.TrainingOptions(p.java.Major, p.options, p.report.flags)...)
	switch t.Step {
	case TrainRecord:
		options = append(options, archive.RecordOptions(p.java.Major, t.File)...)
	case TrainUse:
		options = append(options, archive.UseOptions(p.java.Major, t.File)...)
	}
	argv := slices.Concat(p.report.argv[:1], options, p.report.argv[main:])
	if best.at > 0 && t.Step != TrainPlain {
		at := slices.Index(argv, p.report.argv[best.at])
		argv[at] = strings.Join(best.classPath, ":")
	}
	p.report.argv = argv
	return nil
}

// classPaths of kind java is the one that it has.
func (l javaKind) classPaths(p *plan) ([][]string, int) {
	if l.Config.Java.Jar != "" {
		return [][]string{{l.Config.Java.Jar}}, 0
	}
	path := cmp.Or(service.EnvironMap(p.environ)["CLASSPATH"], ".")
	for k, o := range p.options {
		if value, ok := strings.CutPrefix(o, "--class-path="); ok {
			path = value
		} else if k > 0 && slices.Contains([]string{"-cp", "-classpath", "--class-path"}, p.options[k-1]) {
			path = o
		}
	}
	return [][]string{strings.Split(path, ":")}, 0
}

// classPaths of Tomcat have its libraries, unless an agent would get them too, and without them. Its own class loader finds the same files
// there, but a JVM archives and links the classes of its class path alone.
func (l *tomcatKind) classPaths(p *plan) ([][]string, int) {
	at := len(p.report.argv) - 1
	for at > 0 && p.report.argv[at-1] != "-classpath" {
		at--
	}
	own := strings.Split(p.report.argv[at], ":")
	libraries, err := archive.Libraries(p.tomcat.install.Home, p.tomcat.install.Base)
	if err == nil && archive.HasAgents(p.options) {
		err = errors.New("an agent would load classes from them")
	}
	if err == nil {
		var class string
		if class, err = archive.Overlap(libraries); class != "" {
			err = fmt.Errorf("two of them have %s", class)
		}
	}
	if err != nil {
		p.notes = append(p.notes, fmt.Sprintf("Tomcat's libraries are not on the class path of the class archive: %v", err))
		return [][]string{own}, at
	}
	return [][]string{append(own[:len(own):len(own)], libraries...), own}, at
}

// checkArchive returns an error if a running JVM does not use the archive that it was started with.
func checkArchive(p supervisor.Process, a *ArchiveUse) error {
	if a == nil || a.Path == "" || UsesArchive(p, a.Path) {
		return nil
	}
	return fmt.Errorf("the JVM has started without the class archive %s\nhint: -Xlog:cds, from Java 25 on -Xlog:aot, prints why", a.Path)
}

// UsesArchive reports whether a running JVM has mapped an archive. It does so even if that is unknown.
func UsesArchive(p supervisor.Process, path string) bool {
	used := true
	err := asuser.RetryAs(p.Pid(), func() (err error) {
		used, err = procfs.Maps(p.Pid(), path)
		return err
	})
	return used || err != nil
}
