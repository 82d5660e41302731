// Package tzdata has the time zones of the Go toolchain, for images that have none, as time/tzdata does. In a binary of make
// build (tag packed_zones) they are compressed, and unpacked when a zone is looked up that the system does not have.
package tzdata

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"syscall"
)

// load returns the file of a zone in packed, which is lib/time/zoneinfo.zip of the toolchain with gzip. It takes 2 ms, and
// keeps nothing: few zones are asked for.
func load(packed []byte, name string) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return "", err
	}
	zones, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return "", err
	}
	file, err := fs.ReadFile(zones, name)
	if err != nil {
		return "", syscall.ENOENT // as package time expects it of a zone that does not exist
	}
	return string(file), nil
}
