package archive

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/jvm/hotspot"
)

// sharingOptions begin options about archives: the operator has another one, or wants none.
var sharingOptions = []string{"-Xshare:", "-XX:SharedArchiveFile=", "-XX:ArchiveClassesAtExit=", "-XX:+AutoCreateSharedArchive",
	"-XX:AOTCache", "-XX:AOTMode=", "-XX:AOTConfiguration=", "-XX:-UseSharedSpaces", "-XX:+DumpSharedSpaces", "-XX:+RequireSharedSpaces",
	"-XX:CRaC"}

// sourceOptions begin options with which a JVM takes classes from places that an archive does not have. It uses none then, or not safely.
var sourceOptions = []string{"--module-path", "--upgrade-module-path", "--patch-module", "--limit-modules", "-Xbootclasspath",
	"-Djava.system.class.loader=", "-XX:-BytecodeVerification", "-Xverify:none", "-noverify"}

// management begins the options of remote management.
const management = "-Dcom.sun.management"

var agentOptions = []string{"-javaagent:", "-agentlib:", "-agentpath:", "-Xrun"}

// Unsuitable says why a JVM with these options uses no archive; empty: it can use one.
func Unsuitable(major int, options []string) string {
	for _, o := range options {
		switch {
		case o != "-Xshare:auto" && hasPrefix(o, sharingOptions):
			return name(o) + " is set"
		case o == "-p" || hasPrefix(o, sourceOptions):
			return "the JVM has no archive with " + name(o)
		case major >= FirstCache && hasPrefix(o, agentOptions):
			return fmt.Sprintf("%s is set: Java %d has no AOT cache with agents, which would not see its classes", name(o), major)
		}
	}
	return ""
}

// HasAgents reports whether agents are loaded when a JVM with these options starts.
func HasAgents(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool { return hasPrefix(o, agentOptions) })
}

func hasPrefix(o string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(o, p) })
}

// name cuts an option where values begin, which may be secret.
func name(o string) string {
	name, _, _ := strings.Cut(o, "=")
	return name
}

// loading returns the options that an archive depends on: those of modules, and agents without their arguments.
func loading(options []string) (out []string) {
	for k, o := range options {
		switch {
		case strings.HasPrefix(o, "--"):
			out = append(out, o)
			if !strings.Contains(o, "=") && k+1 < len(options) && !strings.HasPrefix(options[k+1], "-") {
				out = append(out, options[k+1])
			}
		case hasPrefix(o, agentOptions):
			out = append(out, name(o))
		case strings.HasPrefix(o, management): // it adds a module
			if !slices.Contains(out, management) {
				out = append(out, management)
			}
		}
	}
	return out
}

// layoutFlags are the flags that an archive depends on: the form of objects, and collectors that lay out the heap in another way than
// Serial, Parallel and G1, of which each uses the archives of the others.
var layoutFlags = []string{"ObjectAlignmentInBytes", "UseCompactObjectHeaders", "UseCompressedClassPointers", "UseCompressedOops",
	"UseEpsilonGC", "UseShenandoahGC", "UseZGC"}

// Identify returns the identity of a JVM with options and what is its class path. flags are those that it prints.
func (c *Checker) Identify(java hotspot.JVM, options, classPath []string, flags hotspot.Flags) (id Identity, err error) {
	id = Identity{Java: java.Version, Options: loading(options)}
	for _, name := range layoutFlags {
		if f, ok := flags[name]; ok {
			id.Flags = append(id.Flags, name+"="+f.Value)
		}
	}
	if java.Major >= FirstCache && flags["UseAVX"].Value != "0" { // it has code with AVX, and Java 25 does not check the processor
		id.Flags = append(id.Flags, "AVX")
	}
	if id.Files, err = c.ownFiles(java.Home); err != nil {
		return id, err
	}
	id.ClassPath, err = c.classPath(classPath)
	return id, err
}
