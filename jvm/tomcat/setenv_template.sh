exec 9>&1
stoker_env=`command -v env` || exit 127
stoker_n=`ulimit -n 2>/dev/null`; stoker_c=`ulimit -c 2>/dev/null`; stoker_s=`ulimit -s 2>/dev/null`
stoker_d=`pwd -P`
cygwin=false; darwin=false; os400=false; hpux=false
PRG=@SCRIPT@; PRGDIR=@BIN@
CATALINA_HOME=@HOME@; CATALINA_BASE=@BASE@; CLASSPATH=
. @FILE@ >&2
set +aeux
stoker_put() { printf '%s=%s\000' "$1" "$2" >&9; }
printf %s @MARK@ >&9
"$stoker_env" -0 >&9 || exit 126
printf %s @MARK@ >&9
@VARIABLES@
printf %s @MARK@ >&9
stoker_put before-dir "$stoker_d"; stoker_put after-dir "`pwd -P`"
stoker_put before-n "$stoker_n"; stoker_put after-n "`ulimit -n 2>/dev/null`"
stoker_put before-c "$stoker_c"; stoker_put after-c "`ulimit -c 2>/dev/null`"
stoker_put before-s "$stoker_s"; stoker_put after-s "`ulimit -s 2>/dev/null`"
printf %s @MARK@ >&9
exit 0
