#include "tests/model/op.h"

#include <array>

#include "tests/model/plain_model.h"

namespace linkspan::test {
namespace {

constexpr uint64_t kChunk = 65536;

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Op next() {
    const Op op = make();
    model_.apply(op, Time{});
    return op;
  }

 private:
  Op make() {
    Op op;
    op.what = pick_what();
    op.flag = one_in(4);
    switch (op.what) {
      case What::create:
      case What::fifo:
        op.a = path();
        op.x = below(2) != 0 ? 0644 : 04711;
        break;
      case What::mkdir:
        op.a = path();
        op.x = one_in(3) ? 02775 : 0755;
        break;
      case What::symlink:
        op.a = path();
        op.b = std::string(1 + below(40), 't');
        break;
      case What::unlink:
        op.a = one_in(3) ? taken() : existing(Kind::file);
        break;
      case What::rmdir:
        op.a = one_in(3) ? taken() : existing(Kind::directory);
        break;
      case What::rename:
        op.a = taken();
        op.b = one_in(2) ? path() : taken();
        op.x = one_in(3) ? below(static_cast<uint64_t>(Base::count_)) : 0;
        break;
      case What::exchange:
        op.a = taken();
        op.b = taken();
        break;
      case What::link:
        op.a = node(Kind::file);
        op.b = path();
        break;
      case What::open:
        op.a = taken();
        op.x = below(kSlots);
        break;
      case What::set_xattr:
      case What::remove_xattr:
        op.a = node();
        op.b = one_in(3) ? "user.b" : "user.a";
        op.x = below(30);
        op.y = one_in(2) ? 0 : below(3);
        break;
      case What::retry:
        break;
      case What::prune:
        op.x = below(40);
        break;
      default:
        number_op(op);
        break;
    }
    return op;
  }

  uint64_t below(uint64_t bound) { return random_() % bound; }
  bool one_in(uint64_t n) { return below(n) == 0; }

  What pick_what() {
    // Sequences that mostly fail teach little: creations come more often.
    if (one_in(4)) return one_in(3) ? What::mkdir : What::create;
    if (one_in(6)) return What::rename;
    return static_cast<What>(below(static_cast<uint64_t>(What::count_)));
  }

  std::string name() { return std::string(1, "abcd"[below(4)]); }
  // One that is there, if there is any of that kind.
  std::string existing(std::optional<Kind> kind) {
    const std::vector<std::string> paths = model_.paths(kind);
    return paths.empty() ? path() : paths[below(paths.size())];
  }
  std::string slot(std::optional<Kind> kind) {
    const uint64_t at = below(kSlots);
    return model_.holds(at, kind) || one_in(10) ? "@" + std::to_string(at) : std::string();
  }
  // Of a node that may or may not be there: in a directory that is, mostly.
  std::string path() {
    std::string out = one_in(10) ? slot(Kind::directory) : std::string();
    if (out.empty() && !one_in(12)) {
      const std::vector<std::string> dirs = model_.paths(Kind::directory);
      if (!dirs.empty() && !one_in(3)) out = dirs[below(dirs.size())];
    }
    return out + "/" + name() + (one_in(20) ? "/" + name() : "");
  }
  // Of a node that should be there.
  std::string taken() { return one_in(10) ? path() : existing(std::nullopt); }
  std::string node(std::optional<Kind> kind = std::nullopt) {
    if (one_in(15)) kind.reset();
    if (one_in(40)) return {};
    const std::string held = one_in(4) ? slot(kind) : std::string();
    return held.empty() ? (one_in(15) ? path() : existing(kind)) : held;
  }
  // Mostly small; now and then around the bounds of a stored piece.
  uint64_t size() {
    if (!one_in(8)) return below(60);
    return (1 + below(2)) * kChunk - 3 + below(7);
  }

  void number_op(Op& op) {
    op.a = node();
    switch (op.what) {
      case What::chmod:
        op.x = below(010000);
        break;
      case What::chown:
        op.x = below(5);
        op.y = below(5);
        break;
      case What::overwrite:
        op.x = size();
        op.y = size();
        op.z = one_in(3) ? below(static_cast<uint64_t>(Base::count_)) : 0;
        break;
      case What::utimes:
      case What::relax:
        op.x = below(1000000);
        op.y = below(1000000);
        break;
      default:
        op.x = size();
        op.y = size();
        break;
    }
  }

  std::mt19937_64 random_;
  PlainModel model_;  // what there is by now, so that most steps do something
};

constexpr std::array<const char*, static_cast<size_t>(What::count_)> kNames = {
    "create", "mkdir",     "symlink",      "fifo",      "unlink", "rmdir",
    "rename", "exchange",  "link",         "chmod",     "chown",  "utimes",
    "relax",  "truncate",  "rewrite",      "overwrite", "punch",  "keep_below",
    "append", "set_xattr", "remove_xattr", "open",      "retry",  "prune"};

}  // namespace

std::vector<Op> random_sequence(uint64_t seed, size_t length) {
  Generator generator(seed);
  std::vector<Op> out;
  for (size_t i = 0; i < length; ++i) out.push_back(generator.next());
  return out;
}

std::string to_code(const Op& op) {
  return std::string(kNames[static_cast<size_t>(op.what)]) + "(\"" + op.a + "\", \"" + op.b +
         "\", " + std::to_string(op.x) + ", " + std::to_string(op.y) + ", " + std::to_string(op.z) +
         (op.flag ? ", flag);" : ");");
}

std::string bytes_of(uint64_t seed, uint64_t length) {
  std::string out(length, '\0');
  for (uint64_t i = 0; i < length; ++i)
    out[i] = static_cast<char>('A' + (seed * 7 + i + (i >> 9)) % 57);
  return out;
}

}  // namespace linkspan::test
