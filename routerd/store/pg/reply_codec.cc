#include "routerd/store/pg/reply_codec.h"

#include "linkspan/limits.h"

namespace linkspan::store::pg {
namespace {

constexpr uint64_t kFormat = 1;
constexpr char kRuledOut = 0;  // where a reply has its format

class Writer {
 public:
  void number(uint64_t value) {
    while (value >= 0x80) {
      out.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out.push_back(static_cast<char>(value));
  }
  void time(Time t) {
    const auto bits = static_cast<uint64_t>(t.ns);
    out.append(reinterpret_cast<const char*>(&bits), sizeof bits);
  }
  void bytes(const std::string& value) {
    number(value.size());
    out += value;
  }
  std::string out;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  uint64_t number() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == in_.size()) break;
      const auto byte = static_cast<unsigned char>(in_[at_++]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    good_ = false;
    return 0;
  }
  template <class Id>
  Id id() {
    return Id{number()};
  }
  uint32_t number32() { return static_cast<uint32_t>(number()); }
  Time time() {
    uint64_t bits = 0;
    if (in_.size() - at_ < sizeof bits) {
      good_ = false;
      return {};
    }
    in_.copy(reinterpret_cast<char*>(&bits), sizeof bits, at_);
    at_ += sizeof bits;
    return Time{static_cast<int64_t>(bits)};
  }
  std::string bytes() {
    const uint64_t size = number();
    if (size > in_.size() - at_) {
      good_ = false;
      return {};
    }
    at_ += size;
    return std::string(in_.substr(at_ - size, size));
  }
  bool done() const { return good_ && at_ == in_.size(); }
  bool good() const { return good_; }

 private:
  std::string_view in_;
  size_t at_ = 0;
  bool good_ = true;
};

void write(Writer& w, const Node& node) {
  const Attr& a = node.attr;
  w.number(a.ino.value);
  w.number(static_cast<uint64_t>(a.kind));
  for (const uint64_t value :
       {uint64_t{a.mode}, uint64_t{a.uid}, uint64_t{a.gid}, uint64_t{a.nlink}, a.size, a.allocated})
    w.number(value);
  for (const Time t : {a.atime, a.mtime, a.ctime, a.btime}) w.time(t);
  w.number(a.version.value);
  w.number(a.seq.value);
  w.number(a.has_xattrs ? 1 : 0);
  w.number(a.parent.value);
  w.bytes(node.target);
}

Node read_node(Reader& r) {
  Node node;
  Attr& a = node.attr;
  a.ino = r.id<Ino>();
  a.kind = static_cast<Kind>(r.number());
  for (uint32_t* value : {&a.mode, &a.uid, &a.gid, &a.nlink}) *value = r.number32();
  a.size = r.number();
  a.allocated = r.number();
  for (Time* t : {&a.atime, &a.mtime, &a.ctime, &a.btime}) *t = r.time();
  a.version = r.id<Version>();
  a.seq = r.id<Seq>();
  a.has_xattrs = r.number() != 0;
  a.parent = r.id<Ino>();
  node.target = r.bytes();
  return node;
}

}  // namespace

std::string encode_reply(const MutationReply& reply) {
  Writer w;
  w.number(kFormat);
  w.number(reply.seq.value);
  w.number(reply.offset);
  w.number((reply.merged ? 1u : 0u) | (reply.created ? 2u : 0u) | (reply.unmerged ? 4u : 0u));
  w.number(reply.version.value);
  w.number(reply.nodes.size());
  for (const Node& node : reply.nodes) write(w, node);
  return std::move(w.out);
}

Result<MutationReply> decode_reply(std::string_view bytes) {
  Reader r(bytes);
  MutationReply reply;
  const bool known = r.number() == kFormat;
  reply.seq = r.id<Seq>();
  reply.offset = r.number();
  const uint64_t flags = r.number();
  reply.merged = (flags & 1) != 0;
  reply.created = (flags & 2) != 0;
  reply.version = r.id<Version>();
  if ((flags & 4) != 0) reply.unmerged = Version{reply.version.value - 1};
  const uint64_t count = r.number();
  for (uint64_t i = 0; known && r.good() && i < count && count <= limits::kMutationNodes; ++i)
    reply.nodes.push_back(read_node(r));
  if (!known || !r.done())
    return fail(Code::io, "a stored operation result cannot be read: made by a newer program?");
  return reply;
}

std::string ruled_out(Seq seq) {
  Writer w;
  w.out = kRuledOut;
  w.number(seq.value);
  return std::move(w.out);
}

bool is_ruled_out(std::string_view bytes) {
  return !bytes.empty() && bytes.front() == kRuledOut;
}

}  // namespace linkspan::store::pg
