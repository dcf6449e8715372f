# Remote side of a delivery: POSIX sh and the utilities of POSIX, nothing else.
#
# Lines before this script set `directory`, `tag`, `files` (NAME:MODE:BYTES ...), `keyless` (file name stem of a
# certificate delivered without its key, or empty) and `reload`.
# Standard input continues with the content of the files, one after the other, then one line: `place`.
# Standard output has lines that begin with the tag:
#   started
#   existing BYTES     only if `keyless` is set; followed by the certificate of the key in place
#   existing none      likewise, if there is no key or no certificate in place
#   staged             followed by the content of the files as read back from disk
#   placed
#   reloaded STATUS
#   failed REASON

umask 077
LC_ALL=C
export LC_ALL

report() {
    printf '%s %s\n' "$tag" "$*"
}

# Set name, mode, size, temporary, former and final from an element of $files.
select_file() {
    name=${1%%:*}
    size=${1##*:}
    mode=${1#*:}
    mode=${mode%:*}
    temporary=$directory/.$name.$tag.tmp
    former=$directory/.$name.$tag.old
    final=$directory/$name
}

# Only newer sync utilities take a file name; the others flush everything.
make_durable() {
    sync "$1" 2>/dev/null || sync
}

clean_up() {
    for file in $files; do
        select_file "$file"
        rm -f "$temporary" "$former"
    done
}

fail() {
    clean_up
    report failed "$1"
    exit 1
}

is_delivered() {
    for file in $files; do
        [ "${file%%:*}" = "$1" ] && return 0
    done
    return 1
}

# A new directory, or one that holds nothing but delivered files, is closed to other users. Any other entry
# in an open directory means that another user needs it too: such a directory is refused.
prepare_directory() {
    mkdir -p "$directory" || fail directory
    [ -d "$directory/." ] || fail directory
    set -- $(ls -ldn "$directory/.")
    [ "$3" = "$(id -u)" ] || fail foreign
    case $1 in
    drwx------*) return ;;
    drwx[-r][-w][-x][-r][-w][-x]*) ;;
    *) fail shared ;;
    esac
    for entry in "$directory"/* "$directory"/.[!.]* "$directory"/..?*; do
        if [ -e "$entry" ] || [ -h "$entry" ]; then
            is_delivered "${entry##*/}" || fail shared
        fi
    done
    chmod 0700 "$directory" || fail directory
}

# dd performs a single read of at most the missing bytes, so it never consumes bytes of the next file.
stage() {
    rm -f "$temporary"
    # Not `:`: a failed redirection of a special built-in would end the shell silently.
    true >"$temporary" || fail write
    missing=$size
    while [ "$missing" -gt 0 ]; do
        block=65536
        [ "$missing" -ge "$block" ] || block=$missing
        words=$(dd bs="$block" count=1 2>&1 >>"$temporary") || {
            printf '%s\n' "$words" >&2
            fail write
        }
        there=$(wc -c <"$temporary") || fail write
        [ $((size - there)) -lt "$missing" ] || fail cut
        missing=$((size - there))
    done
    chmod "$mode" "$temporary" || fail write
    make_durable "$temporary"
}

# Without a delivered key, the key in place stays. The certificate beside it identifies it; the key itself is
# never sent. A certificate that is unreadable or too large is sent as 0 bytes.
report_existing() {
    certificate=$directory/$keyless.crt
    if ! [ -e "$directory/$keyless.key" ] || ! [ -f "$certificate" ]; then
        report existing none
        return
    fi
    length=$(wc -c <"$certificate") || length=0
    [ "$length" -le 65536 ] || length=0
    report existing $((length))
    [ "$length" -eq 0 ] || cat "$certificate" || fail read
}

# Keep the previous file under another name, so that all of them can be restored.
keep_former() {
    if [ -h "$final" ]; then
        fail occupied
    elif [ -f "$final" ]; then
        ln "$final" "$former" 2>/dev/null || cp -p "$final" "$former" || fail write
    elif [ -e "$final" ]; then
        fail occupied
    fi
}

# Restore the previous files. If that fails, the kept files are not removed.
roll_back() {
    restored=yes
    for file in $files; do
        select_file "$file"
        if [ -e "$temporary" ]; then
            continue # Not replaced yet: former and final are links to one file, which mv may refuse.
        elif [ -e "$former" ]; then
            mv -f "$former" "$final" || restored=no
        else
            rm -f "$final" || restored=no
        fi
    done
    [ "$restored" = yes ] || {
        report failed rollback
        exit 1
    }
}

trap 'clean_up; exit 1' HUP INT PIPE TERM

report started
prepare_directory
# Leftovers of a delivery that was interrupted by a power failure.
find "$directory" -type f -name '.*.cluster-ca-*' -mtime +0 -exec rm -f {} + 2>/dev/null
for file in $files; do
    select_file "$file"
    stage
done

[ -z "$keyless" ] || report_existing
report staged
for file in $files; do
    select_file "$file"
    cat "$temporary" || fail read
done
IFS= read -r order || fail cut
[ "$order" = place ] || fail cut

# From here on the script finishes even if the connection is lost.
trap '' HUP INT PIPE TERM
for file in $files; do
    select_file "$file"
    keep_former
done
for file in $files; do
    select_file "$file"
    mv -f "$temporary" "$final" || {
        roll_back
        fail place
    }
done
clean_up
make_durable "$directory"
report placed

trap - HUP INT PIPE TERM
if [ -n "$reload" ]; then
    sh -c "$reload" </dev/null >&2
    report reloaded $?
fi
