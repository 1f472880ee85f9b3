# One library per folder of src/, one test program per folder, and tables generated from file names.

if(LATHE_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
endif()

# lathe_layer(NAME DEPENDENCY...): src/NAME/**.cpp becomes lathe_NAME; *_test.cpp become test_NAME;
# *_fuzz.cpp become one fuzzer each; main.cpp is left out (the program is built from it), so are *_tier.cpp (see
# cpu_kernels.cmake) and backend/cuda (see cuda.cmake).
function(lathe_layer name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/src/backend/cuda/")  # cuda.cmake
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "(_test|_fuzz|_bench|_tier|/main)\\.cpp$")
  if(NOT sources)
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/generated/${name}_empty.cpp CONTENT "")
    set(sources ${CMAKE_BINARY_DIR}/generated/${name}_empty.cpp)
  endif()
  add_library(lathe_${name} STATIC ${sources})
  list(TRANSFORM ARGN PREPEND lathe_ OUTPUT_VARIABLE dependencies)
  target_link_libraries(lathe_${name} PUBLIC ${dependencies})
  if(LATHE_TESTS AND tests)
    add_executable(test_${name} ${tests})
    target_link_libraries(test_${name} PRIVATE lathe_${name} GTest::gtest GTest::gmock GTest::gtest_main)
    # Tests are compiled once and run once: what they call is optimised, they are not.
    target_compile_options(test_${name} PRIVATE $<$<CONFIG:Release>:-O1>)
    target_compile_definitions(test_${name} PRIVATE LATHE_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests")
    add_test(NAME ${name} COMMAND test_${name})
  endif()
  if(LATHE_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(fuzzer_name ${fuzzer} NAME_WE)
      add_executable(${fuzzer_name} ${fuzzer})
      target_compile_options(${fuzzer_name} PRIVATE -fsanitize=fuzzer)
      target_link_options(${fuzzer_name} PRIVATE -fsanitize=fuzzer)
      target_link_libraries(${fuzzer_name} PRIVATE lathe_${name})
    endforeach()
  endif()
endfunction()

# lathe_registry(LAYER FOLDER RETURN SUFFIX): for every src/FOLDER/x.cpp that has no header of its own
# generates the declaration `RETURN x<SUFFIX>();` in generated/<folder>_declarations.inc and the table entry
# `&x<SUFFIX>,` in generated/<folder>_entries.inc (slashes of FOLDER become underscores).
function(lathe_registry layer folder return suffix)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cpp)
  list(FILTER files EXCLUDE REGEX "(_test|_fuzz|_bench)\\.cpp$")
  set(declarations "")
  set(entries "")
  foreach(file ${files})
    get_filename_component(stem ${file} NAME_WE)
    if(EXISTS ${CMAKE_SOURCE_DIR}/src/${folder}/${stem}.h)
      continue()  # a file with a header is a helper, not an entry
    endif()
    string(APPEND declarations "${return} ${stem}${suffix}();\n")
    string(APPEND entries "    &${stem}${suffix},\n")
  endforeach()
  string(REPLACE "/" "_" table ${folder})
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/generated/${table}_declarations.inc CONTENT "${declarations}")
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/generated/${table}_entries.inc CONTENT "${entries}")
  # Only the file that reads the table sees the build folder, so that compiler caches serve all the others.
  get_target_property(sources lathe_${layer} SOURCES)
  list(FILTER sources INCLUDE REGEX "^/.*\\.cpp$")
  foreach(source ${sources})
    file(STRINGS ${source} reads REGEX "\"${table}_(declarations|entries)\\.inc\"")
    if(reads)
      set_property(SOURCE ${source} APPEND PROPERTY INCLUDE_DIRECTORIES ${CMAKE_BINARY_DIR}/generated)
    endif()
  endforeach()
endfunction()
