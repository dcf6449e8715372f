"""Chart of the proxies, for scripts/bench."""

from html import escape

COLOURS = {"nginx": "#9aa0a6", "haproxy": "#e8a33d", "cluster-gateway": "#2a6fb0"}
LABELS = {
    "full": "full handshake",
    "resumed": "resumed handshake",
    "h1": "HTTP/1.1",
    "h2": "HTTP/2",
    "h1-no-log": "HTTP/1.1, no log",
    "h2-no-log": "HTTP/2, no log",
    "down-64k": "64 KiB down",
    "down-10m": "10 MiB down",
    "up-64k": "64 KiB up",
    "up-10m": "10 MiB up",
    "rate": "1,000 requests a second",
}
WIDTH, LEFT, BAR, GAP, TOP = 760, 170, 14, 10, 52


def svg(proxies):
    """Bars of the requests for the same CPU time, with their range, on a light and a dark page."""
    modes, base = proxies["modes"], proxies["base"]
    bars = [of["per_cpu"] for result in modes.values() for of in result.values()]
    # Room for the figure behind the longest bar.
    scale = (WIDTH - LEFT - 56) / max((cpu["maximum"] for cpu in bars), default=1.0)
    parts, y = [], TOP
    for mode, result in modes.items():
        middle = y + len(result) * BAR / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{middle:.0f}" text-anchor="end">{escape(LABELS.get(mode, mode))}</text>')
        for name, of in result.items():
            parts += bar(name, of["per_cpu"], scale, y)
            y += BAR
        y += GAP
    one, height = LEFT + scale, y + 8
    title = f"Requests for the same CPU time; {base} is 1"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="12" fill="#202124">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
        *legend(modes),
        f'<path d="M{one:.1f} {TOP - 4}V{y - GAP + 4}" stroke="#5f6368" stroke-dasharray="2 3"/>',
        *parts,
        "</svg>\n",
    ])


def bar(name, cpu, scale, y):
    low, middle, high = (LEFT + cpu[end] * scale for end in ("minimum", "median", "maximum"))
    centre = y + BAR / 2
    weight = ' font-weight="bold"' if name == "cluster-gateway" else ""
    yield f'<rect x="{LEFT}" y="{y + 1}" width="{middle - LEFT:.1f}" height="{BAR - 2}" fill="{COLOURS[name]}"/>'
    yield f'<path d="M{low:.1f} {centre}H{high:.1f}" stroke="#202124"/>'
    yield f'<text x="{high + 6:.1f}" y="{centre + 4}"{weight}>{cpu["median"]:.2f}</text>'


def legend(modes):
    names = list(next(iter(modes.values()), {}))
    for number, name in enumerate(names):
        x = 12 + 130 * number
        yield f'<rect x="{x}" y="32" width="10" height="10" fill="{COLOURS[name]}"/>'
        yield f'<text x="{x + 16}" y="41">{escape(name)}</text>'
    yield f'<text x="{WIDTH - 12}" y="41" text-anchor="end">bar: median; line: minimum to maximum</text>'
