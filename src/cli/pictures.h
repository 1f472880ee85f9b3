// lathe run of a picture pipeline: make pictures, write them.
#pragma once

#include "cli/picture_model.h"
#include "cli/picture_request.h"
#include "cli/verb.h"

namespace lathe::cli {

// Makes the pictures and writes them: output.png, or output-0.png ... for a batch. Throws as the pipeline does;
// resource before it begins where memory will not do.
Exit run_pictures(PictureRun run, PictureFlags flags, const Output& output);

}  // namespace lathe::cli
