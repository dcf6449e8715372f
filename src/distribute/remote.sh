# The far side of a delivery: POSIX sh and the tools that POSIX demands, nothing else.
#
# Before this come the lines that set `directory`, `tag`, `files` (NAME:MODE:BYTES ...), `keyless` (the stem
# of a certificate that comes without its key, or nothing) and `reload`.
# Standard input goes on with the files' bytes, one file after the other, then one line: `place`.
# Standard output says, each on a line that begins with the tag: `begun`; for what is keyless `beside BYTES`,
# followed by the certificate that the key there belongs to, or `beside nothing`; `staged`, followed by the
# bytes of the files as they are on the disk; `placed`; `reloaded STATUS`; or `failed WHY`.

umask 077
LC_ALL=C
export LC_ALL

say() {
    printf '%s %s\n' "$tag" "$*"
}

# Sets name, mode, size, temporary, former and final from an element of $files.
look_at() {
    name=${1%%:*}
    size=${1##*:}
    mode=${1#*:}
    mode=${mode%:*}
    temporary=$directory/.$name.$tag.tmp
    former=$directory/.$name.$tag.old
    final=$directory/$name
}

# One file or directory where sync knows how, else everything.
make_durable() {
    sync "$1" 2>/dev/null || sync
}

tidy() {
    for file in $files; do
        look_at "$file"
        rm -f "$temporary" "$former"
    done
}

fail() {
    tidy
    say failed "$1"
    exit 1
}

# Whether a name is one of those that are delivered.
is_delivered() {
    for file in $files; do
        [ "${file%%:*}" = "$1" ] && return 0
    done
    return 1
}

# A directory that was made here, or has nothing but what is delivered, is closed to others. Anything else
# in one that is open says that others use it as well: it is not touched.
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

# dd makes one read of at most what is missing, so nothing is taken that belongs to the next file.
stage() {
    rm -f "$temporary"
    # Not `:`, whose failed redirection would end the shell without a word.
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

# A key that is there stays when none is delivered. Whose it is, the certificate beside it tells; the key
# itself goes nowhere. One that cannot be read, or is too long to be one, is sent as no bytes.
say_beside() {
    certificate=$directory/$keyless.crt
    if ! [ -e "$directory/$keyless.key" ] || ! [ -f "$certificate" ]; then
        say beside nothing
        return
    fi
    length=$(wc -c <"$certificate") || length=0
    [ "$length" -le 65536 ] || length=0
    say beside $((length))
    [ "$length" -eq 0 ] || cat "$certificate" || fail read
}

# The old file under another name, so that all of them can be brought back.
keep() {
    if [ -h "$final" ]; then
        fail occupied
    elif [ -f "$final" ]; then
        ln "$final" "$former" 2>/dev/null || cp -p "$final" "$former" || fail write
    elif [ -e "$final" ]; then
        fail occupied
    fi
}

bring_back() {
    for file in $files; do
        look_at "$file"
        if [ -e "$former" ]; then
            mv -f "$former" "$final"
        elif [ ! -e "$temporary" ]; then
            rm -f "$final"
        fi
    done
}

trap 'tidy; exit 1' HUP INT PIPE TERM

say begun
prepare_directory
# What a machine that lost its power in the middle was left with.
find "$directory" -type f -name '.*.cluster-ca-*' -mtime +0 -exec rm -f {} + 2>/dev/null
for file in $files; do
    look_at "$file"
    stage
done

[ -z "$keyless" ] || say_beside
say staged
for file in $files; do
    look_at "$file"
    cat "$temporary" || fail read
done
IFS= read -r verdict || fail cut
[ "$verdict" = place ] || fail cut

# From here on the work is finished whatever becomes of the connection.
trap '' HUP INT PIPE TERM
for file in $files; do
    look_at "$file"
    keep
done
for file in $files; do
    look_at "$file"
    mv -f "$temporary" "$final" || {
        bring_back
        fail place
    }
done
tidy
make_durable "$directory"
say placed

trap - HUP INT PIPE TERM
if [ -n "$reload" ]; then
    sh -c "$reload" </dev/null >&2
    say reloaded $?
fi
