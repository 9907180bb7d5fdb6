#include "tests/model/op.h"

#include <array>

namespace linkspan::test {
namespace {

constexpr uint64_t kChunk = 65536;

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Op next() {
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
      case What::rmdir:
        op.a = path();
        break;
      case What::rename:
        op.a = path();
        op.b = path();
        op.x = one_in(3) ? below(static_cast<uint64_t>(Base::count_)) : 0;
        break;
      case What::exchange:
        op.a = path();
        op.b = path();
        break;
      case What::link:
        op.a = node();
        op.b = path();
        break;
      case What::open:
        op.a = path();
        op.x = below(kSlots);
        break;
      case What::set_xattr:
      case What::remove_xattr:
        op.a = node();
        op.b = one_in(2) ? "user.a" : "user.b";
        op.x = below(30);
        op.y = below(3);
        break;
      case What::retry:
        break;
      default:
        number_op(op);
        break;
    }
    return op;
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  bool one_in(uint64_t n) { return below(n) == 0; }

  What pick_what() {
    // Sequences that mostly fail teach little: creations come more often.
    if (one_in(4)) return one_in(2) ? What::create : What::mkdir;
    if (one_in(5)) return What::rename;
    return static_cast<What>(below(static_cast<uint64_t>(What::count_)));
  }

  std::string name() { return std::string(1, "abcd"[below(4)]); }
  std::string path() {
    std::string out = one_in(8) ? "@" + std::to_string(below(kSlots)) : std::string();
    const uint64_t depth = one_in(3) ? 2 : one_in(6) ? 3 : 1;
    for (uint64_t i = 0; i < depth; ++i) out += "/" + name();
    return out;
  }
  std::string node() {
    return one_in(4) ? "@" + std::to_string(below(kSlots)) : one_in(30) ? std::string() : path();
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
};

constexpr std::array<const char*, static_cast<size_t>(What::count_)> kNames = {
    "create", "mkdir",     "symlink",      "fifo",      "unlink", "rmdir",
    "rename", "exchange",  "link",         "chmod",     "chown",  "utimes",
    "relax",  "truncate",  "rewrite",      "overwrite", "punch",  "keep_below",
    "append", "set_xattr", "remove_xattr", "open",      "retry"};

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
