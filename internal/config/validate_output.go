package config

import (
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

func (v *validator) output(at string, raw, cfg supervisor.Output) {
	if n, _ := jvm.ParseMemory(raw.Keep); n > logs.MaxKeep {
		v.Bad(layeredyaml.Join(at, "keep"), "it is memory: write the rest to output.file", "%s is more than %d MiB", layeredyaml.Quote("",
			raw.Keep), logs.MaxKeep>>20)
	}
	file := layeredyaml.Join(at, "file")
	name := layeredyaml.Join(file, "path")
	if p := raw.File.Path; strings.HasPrefix(p, "/") && (strings.HasSuffix(p, "/") || path.Clean(p) == "/") {
		v.Bad(name, "add the file's name", "%s is a folder", layeredyaml.Quote(name, p))
	} else if what := logfile.NotAFile(p); what != "" {
		v.Bad(name, notAFileHint(p), "%s is %s, and only an ordinary file is written to", layeredyaml.Quote(name, p), what)
	}
	full, _ := jvm.ParseMemory(cfg.File.Size) // of a wrong size 0
	if total, err := jvm.ParseMemory(raw.File.Total); err == nil && total < full {
		v.Bad(layeredyaml.Join(file, "total"), "raise total or lower size", "%s is less than the size of one file, %s", raw.File.Total,
			cfg.File.Size)
	}
	if raw.File.Path == "" && raw.File != (supervisor.OutputFile{}) && !v.AlreadyReported(name) {
		v.Missing(name, "set output.file.path", "no file is written without it")
	}
}

// notAFileHint is the hint for a path that is not an ordinary file.
func notAFileHint(path string) string {
	if path == os.DevNull {
		return "remove output.file, and set output.format: none to have the output nowhere but in `stoker logs`"
	}
	for _, stream := range []string{"/dev/std", "/dev/fd/", "/dev/tty", "/dev/console", "/proc/"} {
		if strings.HasPrefix(path, stream) {
			return "remove output.file: the output goes to the container's own stdout and stderr anyway (output.format says how)"
		}
	}
	return "name a file in a folder of its own, such as /var/log/app/out.log"
}

const outputFile = "output.file.path"

// outputFiles refuses two services that write the same file, including the names of rotated
// files.
func (v *validator) outputFiles() {
	writers := map[string]string{} // cleaned path -> service
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Services)) {
		f := v.cfg.Services[name].Output.File
		if !strings.HasPrefix(f.Path, "/") {
			continue
		}
		at, clean := ServicePath(name, outputFile), path.Clean(f.Path)
		if other, taken := writers[clean]; taken {
			v.Bad(at, "give each service a file of its own", "service %s writes this file too%s", other, v.Where(ServicePath(other, outputFile)))
			continue
		}
		writers[clean] = name
	}
	for _, clean := range slices.Sorted(maps.Keys(writers)) {
		name := writers[clean]
		for n := 1; n <= min(v.cfg.Services[name].Output.File.Files, 1000); n++ {
			if other, taken := writers[fmt.Sprintf("%s.%d", clean, n)]; taken {
				v.Bad(ServicePath(other, outputFile), "choose another name", "a full file of service %s gets this name%s", name, v.Where(ServicePath(name, outputFile)))
			}
		}
	}
}
