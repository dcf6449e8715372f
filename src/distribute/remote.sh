# Remote side of a delivery: POSIX sh and the utilities of POSIX, nothing else.
#
# Lines before this script set `directory`, `tag`, `files` (NAME:MODE:BYTES ...), `keyless` (file name stem of a
# certificate delivered without its key, or empty), `reload`, and `owner` and `group` of the files (or empty). The
# variable `script` has all of it.
# Standard input continues with the content of the files, one after the other, then one line: `place`.
# Standard output has lines that begin with the tag:
#   started
#   existing BYTES     only if `keyless` is set; followed by the certificate of the key in place
#   existing none      likewise, if there is no key or no certificate in place
#   staged             followed by the content of the files as read back from disk
#   placed
#   unchanged          instead, if the same files are in place
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

# The directory belongs to the given account. As root, this is checked and changed before anything is written.
assign_directory() {
    account=$owner
    if [ -n "$owner" ]; then
        case $owner in
        *[!0-9]*) account=$(id -u "$owner" 2>/dev/null) || fail account ;;
        esac
    fi
    if ! [ -d "$directory/." ]; then
        mkdir -p "$directory" && chmod 0700 "$directory" || fail directory
    fi
    set -- $(ls -ldn "$directory/.")
    if [ -z "$account" ]; then
        account=$3
    elif [ "$3" = 0 ] && [ "$account" != 0 ]; then
        # A directory of root may be given away only if nothing else is in it.
        prepare_directory
        chown "$account" "$directory" || fail account
    elif [ "$3" != "$account" ]; then
        fail foreign
    fi
    if [ -n "$group" ]; then
        chgrp "$group" "$directory" || fail account
    fi
    set -- $(ls -ldn "$directory/.")
    group_id=$4
}

# In a directory of another account, that account could lead root to any other file. Root runs this script as the
# account instead, and only the reload command runs as root.
run_as_account() {
    as_account=yes
    export as_account script
    # From within: its parents may be closed to the account.
    cd "$directory" || fail directory
    if setpriv --reuid "$account" --regid "$group_id" --clear-groups true 2>/dev/null; then
        setpriv --reuid "$account" --regid "$group_id" --clear-groups sh -c 'eval "$script"'
    else
        name=$(id -un "$account" 2>/dev/null) || fail account
        su -s /bin/sh "$name" -c 'eval "$script"'
    fi
}

# True if all files are in place already, with the same content, mode and owner.
is_unchanged() {
    for file in $files; do
        select_file "$file"
        [ -f "$final" ] && ! [ -h "$final" ] && cmp -s "$temporary" "$final" || return 1
        set -- $(ls -ln "$temporary")
        wanted="$1 $3 $4"
        set -- $(ls -ln "$final")
        [ "$1 $3 $4" = "$wanted" ] || return 1
    done
}

# A new directory, or one that holds nothing but delivered files, is closed to other users. Any other entry
# in an open directory means that another user needs it too: such a directory is refused.
prepare_directory() {
    mkdir -p "$directory" || fail directory
    [ -d "$directory/." ] || fail directory
    set -- $(ls -ldn "$directory/.")
    [ "$3" = "$(id -u)" ] || fail foreign
    case $1 in
    drwx------*) [ -n "$group" ] || return ;;
    drwxr-x---*) [ -z "$group" ] || return ;;
    drwx[-r][-w][-x][-r][-w][-x]*) ;;
    *) fail shared ;;
    esac
    for entry in "$directory"/* "$directory"/.[!.]* "$directory"/..?*; do
        if [ -e "$entry" ] || [ -h "$entry" ]; then
            is_delivered "${entry##*/}" || fail shared
        fi
    done
    chmod "$group_mode" "$directory" || fail directory
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
    if [ -n "$group" ]; then
        chgrp "$group" "$temporary" || fail account
    fi
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

run_reload() {
    if [ -n "$reload" ]; then
        sh -c "$reload" </dev/null >&2
        report reloaded $?
    fi
}

trap 'clean_up; exit 1' HUP INT PIPE TERM

# The group may enter a directory of its own.
group_mode=700
[ -z "$group" ] || group_mode=750

if [ -n "${as_account:-}" ]; then
    directory=.
elif [ "$(id -u)" = 0 ]; then
    assign_directory
    if [ "$account" != 0 ]; then
        run_as_account
        case $? in
        0) run_reload ;;
        esac
        exit
    fi
elif [ -n "$owner" ] && [ "$owner" != "$(id -un)" ] && [ "$owner" != "$(id -u)" ]; then
    fail account
fi
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

if is_unchanged; then
    clean_up
    report unchanged
    exit 3
fi

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
[ -n "${as_account:-}" ] || run_reload
