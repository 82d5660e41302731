package config

import (
	"slices"

	"github.com/stoker-init/stoker/jvm"
)

func (v *validator) jvm() {
	v.flavors()
	v.oneOf("jvm.cpus", v.raw.JVM.CPUs, jvm.CPUsCeil, jvm.CPUsFloor)
	v.size("jvm.reserve", v.raw.JVM.Reserve)
	for _, name := range v.raw.JVM.User.Env {
		v.envName(join("jvm.user", "env"), name)
	}
	for layer, env := range map[string][]string{"jvm.default": v.raw.JVM.Default.Env, "jvm.enforced": v.raw.JVM.Enforced.Env} {
		if len(env) > 0 {
			v.bad(join(layer, "env"), "move it to jvm.user.env", "only the user layer reads variables")
		}
	}
	v.sources("jvm.default", v.raw.JVM.Default)
	v.sources("jvm.user", v.raw.JVM.User)
	v.sources("jvm.enforced", v.raw.JVM.Enforced)
	v.oneOf("jvm.apply", v.raw.JVM.Apply, jvm.ApplyReport, jvm.ApplyRestart)
}

// flavors checks what was bought, and the profiles that it may name.
func (v *validator) flavors() {
	const flavor, list = "jvm.flavor", "jvm.flavors"
	is := v.raw.JVM.Flavor
	if path := join(flavor, "cpus"); is.CPUs < 0 || is.CPUs == 0 && v.isSet(path) {
		v.bad(path, "remove the key to use the cgroup's limit", "%v is not above 0", is.CPUs)
	}
	v.size(join(flavor, "memory"), is.Memory)
	var names []string
	for i, p := range v.raw.JVM.Flavors {
		at := index(list, i)
		switch path := join(at, "name"); {
		case p.Name == "":
			v.lacking(path, "", "a flavor needs a name")
		case slices.Contains(names, p.Name):
			v.bad(path, "give it another name", "there is another flavor %s", quote(path, p.Name))
		}
		names = append(names, p.Name)
		for _, f := range p.Check() {
			v.bad(at+"."+f.Key, "", "%s", f.Message)
		}
	}
	if path := join(flavor, "name"); is.Name != "" && !slices.Contains(names, is.Name) {
		v.lacking(path, didYouMean(is.Name, names), "there is no %s among jvm.flavors", quote(path, is.Name))
	}
}
