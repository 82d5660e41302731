// Package archive finds and keeps the class archives of services: files of a JVM with parsed classes (CDS archives, AOT caches), from
// which it starts faster. It starts no JVM.
//
// An archive of a service is the files SERVICE-KEY.jsa (from Java 25 on SERVICE-KEY.aot) and SERVICE-KEY.json, its description. KEY stands
// for the Identity of the JVM and its class path. An archive is used with the same identity only, and only if its checksum is right: a JVM
// notices most differences itself, but crashes on a damaged file.
package archive

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/jvm/hotspot"
)

// Archive is an archive that fits.
type Archive struct {
	Path string
	Description
}

// Description is what is known of an archive.
type Description struct {
	Identity Identity  `json:"identity"`
	Size     int64     `json:"size"` // bytes
	CRC      uint32    `json:"crc32c"`
	Made     time.Time `json:"made"`
	Times    Times     `json:"times"`
}

// Times are start times until ready, measured when the archive was made; 0: not measured.
type Times struct {
	Without time.Duration `json:"without_ns"`
	With    time.Duration `json:"with_ns"`
}

// FirstMajor is the first Java version with dynamic archives, FirstCache the first with an AOT cache that one run makes.
const (
	FirstMajor = 13
	FirstCache = 25
)

// Supported returns an error for a Java version that has no archives of application classes that are made by a run.
func Supported(major int) error {
	if major < FirstMajor {
		return fmt.Errorf("a run of Java %d makes no class archives; from Java %d on it can", major, FirstMajor)
	}
	return nil
}

// UseOptions returns the options with which a JVM uses an archive, or starts without it where it cannot. Put before the others, so that
// options for logs of the same tags win. The JVM says nothing of an archive that it does not use.
func UseOptions(major int, path string) []string {
	if major >= FirstCache {
		return []string{"-Xlog:aot*=off", "-XX:AOTCache=" + path}
	}
	return []string{"-Xlog:cds*=off", "-XX:SharedArchiveFile=" + path}
}

// RecordOptions returns the options with which a JVM writes an archive when it ends.
func RecordOptions(major int, path string) []string {
	if major >= FirstCache {
		return []string{"-Xlog:aot*=off", "-XX:AOTCacheOutput=" + path}
	}
	return []string{"-Xlog:cds*=off", "-XX:ArchiveClassesAtExit=" + path}
}

// TrainingOptions returns the options that make up for what is left out of the start that writes an archive: agents, remote management, a
// large heap. options and flags are those of the ordinary starts.
func TrainingOptions(major int, options []string, flags hotspot.Flags) (out []string) {
	if flags["UseCompressedOops"].Value == "false" && flags["UseZGC"].Value != "true" { // a smaller heap would have them
		out = append(out, "-XX:-UseCompressedOops")
	}
	if major >= FirstCache && slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, management) }) {
		out = append(out, "--add-modules=jdk.management.agent") // an AOT cache is for exactly the same modules
	}
	return out
}
