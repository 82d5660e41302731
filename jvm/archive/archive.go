// Package archive finds and keeps the class archives of services: files of a JVM with parsed classes (CDS archives, AOT caches), from
// which it starts faster. It starts no JVM.
//
// An archive of a service is the files SERVICE-KEY.jsa (from Java 25 on SERVICE-KEY.aot) and SERVICE-KEY.json, its description. KEY stands
// for the Identity of the JVM and its class path. An archive is used with the same identity only, and only if its checksum is right: a JVM
// notices most differences itself, but crashes on a damaged file.
package archive

import (
	"fmt"
	"strconv"
	"time"
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

// firstMajor is the first Java version with dynamic archives, firstCache the first whose AOT cache is made in one run.
const (
	firstMajor = 13
	firstCache = 25
)

// Supported returns an error for a Java version that has no archives of application classes that are made by a run.
func Supported(major int) error {
	if major < firstMajor {
		return fmt.Errorf("Java %s makes no class archives of a run; they need Java %d", strconv.Itoa(major), firstMajor)
	}
	return nil
}

// Suffix returns the end of the names of archives.
func Suffix(major int) string {
	if major >= firstCache {
		return ".aot"
	}
	return ".jsa"
}

// UseOptions returns the options with which a JVM uses an archive, and starts without it where it cannot.
func UseOptions(major int, path string) []string {
	if major >= firstCache {
		return []string{"-XX:AOTCache=" + path}
	}
	return []string{"-XX:SharedArchiveFile=" + path}
}

// RecordOptions returns the options with which a JVM writes an archive when it ends.
func RecordOptions(major int, path string) []string {
	if major >= firstCache {
		return []string{"-XX:AOTCacheOutput=" + path}
	}
	return []string{"-XX:ArchiveClassesAtExit=" + path}
}
