package archive

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// Bounds: of a manifest in bytes, and of the entries of a class path.
const (
	maxManifest  = 1 << 20
	maxClassPath = 4096
)

// jarFile is a file of a class path.
type jarFile struct {
	file    File
	entries []string // which its manifest adds to the class path
}

// classPath identifies the files of a class path: jars, the jars that DIR/* stands for, and those that the manifests of jars add. An error
// says why no archive fits it: it has a folder of classes, or a file cannot be read.
func (c *Checker) classPath(entries []string) ([]File, error) {
	var out []File
	seen := map[string]bool{}
	for queue := entries; len(queue) > 0; {
		entry := queue[0]
		queue = queue[1:]
		if dir, wild := strings.CutSuffix(entry, "/*"); wild {
			jars, err := expand(dir)
			if err != nil {
				return nil, err
			}
			queue = append(jars, queue...)
			continue
		}
		if entry == "" || seen[entry] {
			continue
		}
		seen[entry] = true
		j, err := c.jar(entry)
		if err != nil {
			return nil, err
		}
		if out = append(out, j.file); len(out) > maxClassPath {
			return nil, fmt.Errorf("the class path has more than %d entries", maxClassPath)
		}
		queue = append(slices.Clone(j.entries), queue...)
	}
	return out, nil
}

// stat identifies a file, which may be missing, without its checksum.
func stat(path string) (File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return File{Path: path, Size: -1}, nil, nil
	case err != nil:
		return File{}, nil, err
	case info.IsDir():
		return File{}, nil, fmt.Errorf("the class path has the folder %s, and archives are for jars alone", path)
	}
	return fileOf(path, info), info, nil
}

func fileOf(path string, info fs.FileInfo) File {
	return File{Path: path, Size: info.Size(), ModTime: info.ModTime().Unix()}
}

// ownFiles identifies the files of a JVM: its code, its classes and the archives that come with it, which others are built on. The JVM
// itself compares its build with that of an archive; a file with classes of others gets a checksum.
func (c *Checker) ownFiles(home string) ([]File, error) {
	modules := filepath.Join(home, "lib/modules")
	archives, _ := filepath.Glob(filepath.Join(home, "lib/server/classes*.jsa")) // only a malformed pattern fails
	var out []File
	for _, path := range append([]string{filepath.Join(home, "lib/server/libjvm.so"), modules}, archives...) {
		f, _, err := stat(path)
		if err == nil && path == modules && f.Size >= 0 && hotspot.HasOtherModules(home) {
			f.CRC, err = c.fileChecksum(path)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func (c *Checker) fileChecksum(path string) (uint32, error) {
	f, err := untrusted.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return c.checksum(f, info)
}

// Overlap returns a class that two jars have; empty: there is none. Which of them is loaded depends on the order of the jars.
func Overlap(jars []string) (class string, err error) {
	seen := map[string]struct{}{}
	for _, jar := range jars {
		_, err := untrusted.ReadJar(jar, math.MaxInt64, func(f *zip.File) error {
			if !strings.HasSuffix(f.Name, ".class") || strings.HasPrefix(f.Name, "META-INF/") || strings.HasSuffix(f.Name, "module-info.class") {
				return nil
			}
			if _, twice := seen[f.Name]; twice {
				class = f.Name
			}
			seen[f.Name] = struct{}{}
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("cannot read %s: %w", jar, err)
		}
		if class != "" {
			return class, nil
		}
	}
	return "", nil
}

// expand lists the jars of a folder in its own order, as the java program does.
func expand(dir string) (jars []string, err error) {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxClassPath + 1)
	switch {
	case err != nil && !errors.Is(err, io.EOF): // of an empty one
		return nil, err
	case len(names) > maxClassPath:
		return nil, fmt.Errorf("the folder %s of the class path has more than %d files", dir, maxClassPath)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".jar") || strings.HasSuffix(name, ".JAR") {
			jars = append(jars, filepath.Join(dir, name))
		}
	}
	return jars, nil
}

// jar identifies a file of the class path, which may be missing. Unchanged ones are remembered.
func (c *Checker) jar(path string) (jarFile, error) {
	file, info, err := stat(path)
	if err != nil || info == nil {
		return jarFile{file: file}, err
	}
	if known, ok := c.jars.get(path, info); ok {
		return known, nil
	}
	now, info, err := c.readJar(path)
	if err != nil {
		return jarFile{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	c.jars.put(path, info, now)
	return now, nil
}

// readJar reads the directory of a jar, which has the checksums of its files, and its manifest.
func (c *Checker) readJar(path string) (out jarFile, info fs.FileInfo, err error) {
	var crc uint32
	var line []byte
	table := crc32.MakeTable(crc32.Castagnoli)
	info, err = untrusted.ReadJar(path, math.MaxInt64, func(f *zip.File) (err error) {
		line = binary.LittleEndian.AppendUint64(append(line[:0], f.Name...), f.UncompressedSize64)
		crc = crc32.Update(crc, table, binary.LittleEndian.AppendUint32(line, f.CRC32))
		if strings.EqualFold(f.Name, "META-INF/MANIFEST.MF") {
			out.entries, err = readManifest(path, f)
		}
		return err
	})
	if errors.Is(err, zip.ErrFormat) { // the JVM ignores what is no jar
		crc, err = c.fileChecksum(path)
	}
	if err != nil {
		return out, nil, err
	}
	out.file = fileOf(path, info)
	out.file.CRC = crc
	return out, info, nil
}

// readManifest returns what the manifest of a jar adds to the class path.
func readManifest(jar string, f *zip.File) ([]string, error) {
	data, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer data.Close()
	text, err := untrusted.ReadAll(data, maxManifest)
	return manifestEntries(jar, text), err
}

// manifestEntries returns the paths of the attribute Class-Path, which are URLs relative to the jar.
func manifestEntries(jar string, text []byte) (out []string) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	text = bytes.ReplaceAll(text, []byte("\n "), nil) // continuation lines
	main, _, _ := bytes.Cut(text, []byte("\n\n"))
	for line := range strings.Lines(string(main)) {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(name, "Class-Path") {
			continue
		}
		for _, word := range strings.Fields(value) {
			if u, err := url.Parse(word); err == nil && (u.Scheme == "" || u.Scheme == "file") && !strings.HasSuffix(u.Path, "/") {
				path := u.Path
				if !filepath.IsAbs(path) {
					path = filepath.Join(filepath.Dir(jar), path)
				}
				out = append(out, path)
			}
		}
	}
	return out
}
