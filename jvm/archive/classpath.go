package archive

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// Bounds: of a manifest in bytes, and of the entries of a class path.
const (
	maxManifest  = 1 << 20
	maxClassPath = 4096
)

// manifest is what the manifest of a jar adds to the class path.
type manifest struct {
	of      File
	entries []string
}

// ClassPath identifies the files of a class path: jars, the jars that DIR/* stands for, and those that the manifests of jars add. An error
// says why no archive fits it: it has a folder of classes, or a file cannot be read.
func (c *Checker) ClassPath(entries []string) ([]File, error) {
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
		f, err := stat(entry)
		if err != nil {
			return nil, err
		}
		if out = append(out, f); len(out) > maxClassPath {
			return nil, fmt.Errorf("the class path has more than %d entries", maxClassPath)
		}
		if f.Size >= 0 {
			more, err := c.manifest(f)
			if err != nil {
				return nil, fmt.Errorf("cannot read the manifest of %s: %w", entry, err)
			}
			queue = append(more, queue...)
		}
	}
	return out, nil
}

// stat identifies a file, which may be missing.
func stat(path string) (File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return File{Path: path, Size: -1}, nil
	case err != nil:
		return File{}, err
	case info.IsDir():
		return File{}, fmt.Errorf("the class path has the folder %s, and archives are for jars alone", path)
	}
	return File{Path: path, Size: info.Size(), ModTime: info.ModTime().Unix()}, nil
}

// ownFiles identifies the files of a JVM: its code, its classes and the archives that come with it, which others are built on.
func ownFiles(home string) ([]File, error) {
	archives, _ := filepath.Glob(filepath.Join(home, "lib/server/classes*.jsa")) // only a malformed pattern fails
	var out []File
	for _, path := range append([]string{filepath.Join(home, "lib/server/libjvm.so"), filepath.Join(home, "lib/modules")}, archives...) {
		f, err := stat(path)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// Overlap returns a class that two jars have; empty: there is none. Which of them is loaded depends on the order of the jars.
func Overlap(jars []string) (class string, err error) {
	seen := map[string]struct{}{}
	for _, jar := range jars {
		err := eachEntry(jar, func(f *zip.File) error {
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
	names, err := f.Readdirnames(maxClassPath)
	for _, name := range names {
		if strings.HasSuffix(name, ".jar") || strings.HasSuffix(name, ".JAR") {
			jars = append(jars, filepath.Join(dir, name))
		}
	}
	if len(names) > 0 {
		err = nil
	}
	return jars, err
}

// manifest returns what the manifest of a jar adds to the class path. Those of unchanged jars are remembered.
func (c *Checker) manifest(of File) ([]string, error) {
	c.mu.Lock()
	known, ok := c.manifests[of.Path]
	c.mu.Unlock()
	if ok && known.of == of {
		return known.entries, nil
	}
	entries, err := readManifest(of)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.manifests == nil || len(c.manifests) >= maxClassPath {
		c.manifests = map[string]manifest{}
	}
	c.manifests[of.Path] = manifest{of, entries}
	return entries, nil
}

func readManifest(of File) (entries []string, err error) {
	err = eachEntry(of.Path, func(f *zip.File) error {
		if !strings.EqualFold(f.Name, "META-INF/MANIFEST.MF") {
			return nil
		}
		data, err := f.Open()
		if err != nil {
			return err
		}
		defer data.Close()
		text, err := untrusted.ReadAll(data, maxManifest)
		entries = manifestEntries(of.Path, text)
		return err
	})
	if errors.Is(err, zip.ErrFormat) { // the JVM ignores what is no jar
		return nil, nil
	}
	return entries, err
}

// eachEntry calls f for the files in a jar, until it fails.
func eachEntry(jar string, f func(*zip.File) error) error {
	file, err := untrusted.Open(jar)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	r, err := zip.NewReader(file, info.Size())
	if err != nil {
		return err
	}
	for _, entry := range r.File {
		if err := f(entry); err != nil {
			return err
		}
	}
	return nil
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
