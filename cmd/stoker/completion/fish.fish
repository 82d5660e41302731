# fish completion for stoker: stoker completion fish | source
function __stoker_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    # In quotes: at the start of a word it is empty, and still one argument.
    for line in (command $words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c stoker -f -a '(__stoker_complete)'
