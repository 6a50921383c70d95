#include "tests/unit/distributed/shm/links_of_one_process.h"

#include <numeric>

namespace titan::distributed::shm {

std::vector<std::unique_ptr<Links>> links_of_one_process(int64_t num_ranks) {
  std::vector<Segment> segments;
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    segments.push_back(Segment::create(Links::segment_bytes(num_ranks)));
    Links::write_head(segments.back());
  }
  std::vector<int64_t> names(static_cast<size_t>(num_ranks));
  std::iota(names.begin(), names.end(), 10);  // not the indices
  std::vector<std::unique_ptr<Links>> links;
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    std::vector<Segment> opened;
    for (const Segment& segment : segments) opened.push_back(Segment::open(segment.address()));
    links.push_back(std::make_unique<Links>(std::move(opened), rank, names));
  }
  return links;
}

}  // namespace titan::distributed::shm
