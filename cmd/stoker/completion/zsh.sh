#compdef stoker
# zsh completion for stoker: source <(stoker completion zsh), or this file as
# _stoker in a folder of $fpath.
_stoker() {
    local line files
    local -a found
    for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
        :files) files=1 ;;
        ?*) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    (( $#found )) && _describe -t stoker stoker found
    [[ -n $files ]] && _files
}
if [[ ${funcstack[1]} == _stoker ]]; then
    _stoker "$@"
else
    compdef _stoker stoker
fi
