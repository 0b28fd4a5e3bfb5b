; The Windows installer. installer.py makes payload.nsh and passes the definitions; nothing else is configured.
;
; Defined from outside: VERSION, VERSION_FOUR (four numbers), PAYLOAD (payload.nsh), ICON, SIDE_PICTURE,
; OUTPUT, and perhaps
; SIGN_UNINSTALLER (a command) and TARGET (see trial.py).
; payload.nsh defines PAYLOAD_KB, PAYLOAD_LONGEST and the macros InstallFiles, RemoveFiles and RemoveFolders.
;
; For the person who runs it, without administrator rights, in %LOCALAPPDATA%\Programs\Lacuna. With /ALLUSERS, started
; as administrator, for everybody in Program Files. /S is silent, /D=FOLDER (last, without quotes) chooses the folder.
; Exit codes: 0 done, 1 cancelled, 2 failed or refused.
;
; Tried with makensis 3.08 and Wine 8 on Debian 12, 32 and 64 bit (trial.py says what). Not seen on Windows: the
; administrator prompt of the uninstaller, the list of Open with, antivirus programs.

Unicode true
ManifestDPIAware true
!ifdef TARGET
  Target ${TARGET}
!endif
SetCompressor /SOLID lzma
SetCompressorDictSize 64

!define PROGRAM "Lacuna"
!define UNINSTALL_KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\Lacuna"
!define CAPABILITIES_KEY "Software\Lacuna\Capabilities"
!define USUAL_FOLDER "$LOCALAPPDATA\Programs\${PROGRAM}"
!define LONGEST_PATH 259 ; MAX_PATH without its end mark: NSIS writes no longer ones

!include MUI2.nsh
!include LogicLib.nsh
!include FileFunc.nsh
!include Integration.nsh
!include Sections.nsh
!include WinVer.nsh
!include x64.nsh
!include "${PAYLOAD}"

Name "${PROGRAM}"
OutFile "${OUTPUT}"
RequestExecutionLevel user
InstallDir "${USUAL_FOLDER}" ; a folder that is chosen with Browse gets the last part of this name
AllowSkipFiles off
ShowInstDetails nevershow
ShowUninstDetails nevershow
BrandingText "${PROGRAM} ${VERSION}"
!ifdef SIGN_UNINSTALLER
  !uninstfinalize '${SIGN_UNINSTALLER} "%1"' = 0
!endif

Var OldFolder ; where it was installed before, or empty

!define MUI_ICON "${ICON}"
!define MUI_UNICON "${ICON}"
!define MUI_ABORTWARNING
!define MUI_WELCOMEFINISHPAGE_BITMAP "${SIDE_PICTURE}"
!define MUI_WELCOMEFINISHPAGE_BITMAP_STRETCH AspectFitHeight
!define MUI_WELCOMEPAGE_TEXT "$(Welcome)"
!define MUI_FINISHPAGE_RUN
!define MUI_FINISHPAGE_RUN_FUNCTION StartProgram
!insertmacro MUI_PAGE_WELCOME
!insertmacro MUI_PAGE_COMPONENTS
!define MUI_PAGE_CUSTOMFUNCTION_LEAVE LeaveDirectory
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English" ; the first is for all languages that are not listed
!insertmacro MUI_LANGUAGE "German"
!include "texts.nsh"

VIProductVersion "${VERSION_FOUR}"
VIFileVersion "${VERSION_FOUR}"
!macro Describe LANGUAGE
  VIAddVersionKey /LANG=${LANGUAGE} "ProductName" "${PROGRAM}"
  VIAddVersionKey /LANG=${LANGUAGE} "ProductVersion" "${VERSION}"
  VIAddVersionKey /LANG=${LANGUAGE} "FileVersion" "${VERSION}"
  VIAddVersionKey /LANG=${LANGUAGE} "FileDescription" "${PROGRAM} Setup"
  VIAddVersionKey /LANG=${LANGUAGE} "LegalCopyright" "Apache-2.0"
!macroend
!insertmacro Describe ${LANG_ENGLISH}
!insertmacro Describe ${LANG_GERMAN}

; Says why nothing is done, and ends with exit code 2.
!macro Refuse TEXT
  MessageBox MB_OK|MB_ICONSTOP "${TEXT}" /SD IDOK
  SetErrorLevel 2
  Quit
!macroend
!define Refuse "!insertmacro Refuse"

; Asks to close the program while one of its files cannot be opened for writing, as those of a running one cannot.
; Changes $R7 and $R8. Silent: refuses at once.
!macro NoteIfRunning FILE
  ${If} ${FileExists} "${FILE}"
    ClearErrors
    FileOpen $R8 "${FILE}" a
    ${If} ${Errors}
      StrCpy $R7 "running"
    ${Else}
      FileClose $R8
    ${EndIf}
  ${EndIf}
!macroend

!macro WaitUntilClosed FOLDER
  ${Do}
    StrCpy $R7 ""
    !insertmacro NoteIfRunning "${FOLDER}\lacuna.exe"
    !insertmacro NoteIfRunning "${FOLDER}\lacuna-cli.exe"
    ${If} $R7 == ""
      ${Break}
    ${EndIf}
    ${If} ${Cmd} `MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION "$(StillRunning)" /SD IDCANCEL IDCANCEL`
      SetErrorLevel 2
      Quit
    ${EndIf}
  ${Loop}
!macroend

; Open with: as one program among others, never as the one that opens a kind of file by default.
!macro EachSuffix MACRO
  !insertmacro ${MACRO} ".tif" "Lacuna.Picture"
  !insertmacro ${MACRO} ".tiff" "Lacuna.Picture"
  !insertmacro ${MACRO} ".png" "Lacuna.Picture"
  !insertmacro ${MACRO} ".jpg" "Lacuna.Picture"
  !insertmacro ${MACRO} ".jpeg" "Lacuna.Picture"
  !insertmacro ${MACRO} ".webp" "Lacuna.Picture"
  !insertmacro ${MACRO} ".bmp" "Lacuna.Picture"
  !insertmacro ${MACRO} ".ora" "Lacuna.Project"
!macroend

!macro OfferFor SUFFIX CLASS
  WriteRegStr SHCTX "Software\Classes\${SUFFIX}\OpenWithProgids" "${CLASS}" ""
  WriteRegStr SHCTX "${CAPABILITIES_KEY}\FileAssociations" "${SUFFIX}" "${CLASS}"
  WriteRegStr SHCTX "Software\Classes\Applications\lacuna.exe\SupportedTypes" "${SUFFIX}" ""
!macroend

!macro WithdrawFor SUFFIX CLASS
  DeleteRegValue SHCTX "Software\Classes\${SUFFIX}\OpenWithProgids" "${CLASS}"
  DeleteRegKey /ifempty SHCTX "Software\Classes\${SUFFIX}\OpenWithProgids"
  DeleteRegKey /ifempty SHCTX "Software\Classes\${SUFFIX}"
!macroend

!macro WriteClass CLASS TEXT
  WriteRegStr SHCTX "Software\Classes\${CLASS}" "" "${TEXT}"
  WriteRegStr SHCTX "Software\Classes\${CLASS}\DefaultIcon" "" "$INSTDIR\lacuna.exe,0"
  WriteRegStr SHCTX "Software\Classes\${CLASS}\shell\open\command" "" '"$INSTDIR\lacuna.exe" "%1"'
!macroend

!macro RemoveAssociations
  !insertmacro EachSuffix WithdrawFor
  DeleteRegValue SHCTX "Software\RegisteredApplications" "${PROGRAM}"
  DeleteRegKey SHCTX "${CAPABILITIES_KEY}"
  DeleteRegKey /ifempty SHCTX "Software\Lacuna"
  DeleteRegKey SHCTX "Software\Classes\Lacuna.Picture"
  DeleteRegKey SHCTX "Software\Classes\Lacuna.Project"
  DeleteRegKey SHCTX "Software\Classes\Applications\lacuna.exe"
  DeleteRegKey /ifempty SHCTX "Software\Classes\Applications"
  ${NotifyShell_AssocChanged}
!macroend

Section "${PROGRAM}" SecProgram
  SectionIn RO
  Call CheckFolder
  !insertmacro WaitUntilClosed "$INSTDIR"
  Call RemoveOldVersion
  ; The uninstaller comes first, so that an installation that was broken off can be removed.
  SetOutPath "$INSTDIR"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "DisplayName" "${PROGRAM}"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "DisplayVersion" "${VERSION}"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "DisplayIcon" "$INSTDIR\lacuna.exe,0"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "Publisher" "Lacuna"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "InstallLocation" "$INSTDIR"
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr SHCTX "${UNINSTALL_KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD SHCTX "${UNINSTALL_KEY}" "EstimatedSize" ${PAYLOAD_KB}
  WriteRegDWORD SHCTX "${UNINSTALL_KEY}" "NoModify" 1
  WriteRegDWORD SHCTX "${UNINSTALL_KEY}" "NoRepair" 1
  SetDetailsPrint textonly
  DetailPrint "$(Copying)"
  SetDetailsPrint none
  !insertmacro InstallFiles
  SetOutPath "$INSTDIR" ; where shortcuts start the program
SectionEnd

Section "$(StartMenuName)" SecStartMenu
  CreateShortcut "$SMPROGRAMS\${PROGRAM}.lnk" "$INSTDIR\lacuna.exe"
SectionEnd

Section /o "$(DesktopName)" SecDesktop
  CreateShortcut "$DESKTOP\${PROGRAM}.lnk" "$INSTDIR\lacuna.exe"
SectionEnd

Section "$(OpenWithName)" SecOpenWith
  !insertmacro WriteClass "Lacuna.Picture" "$(PictureName)"
  !insertmacro WriteClass "Lacuna.Project" "$(ProjectName)"
  WriteRegStr SHCTX "Software\Classes\Applications\lacuna.exe" "FriendlyAppName" "${PROGRAM}"
  WriteRegStr SHCTX "Software\Classes\Applications\lacuna.exe\shell\open\command" "" '"$INSTDIR\lacuna.exe" "%1"'
  WriteRegStr SHCTX "${CAPABILITIES_KEY}" "ApplicationName" "${PROGRAM}"
  WriteRegStr SHCTX "${CAPABILITIES_KEY}" "ApplicationDescription" "$(Purpose)"
  WriteRegStr SHCTX "${CAPABILITIES_KEY}" "ApplicationIcon" "$INSTDIR\lacuna.exe,0"
  !insertmacro EachSuffix OfferFor
  WriteRegStr SHCTX "Software\RegisteredApplications" "${PROGRAM}" "${CAPABILITIES_KEY}"
  ${NotifyShell_AssocChanged}
SectionEnd

!insertmacro MUI_FUNCTION_DESCRIPTION_BEGIN
  !insertmacro MUI_DESCRIPTION_TEXT ${SecProgram} "$(Purpose)"
  !insertmacro MUI_DESCRIPTION_TEXT ${SecStartMenu} "$(StartMenuText)"
  !insertmacro MUI_DESCRIPTION_TEXT ${SecDesktop} "$(DesktopText)"
  !insertmacro MUI_DESCRIPTION_TEXT ${SecOpenWith} "$(OpenWithText)"
!insertmacro MUI_FUNCTION_DESCRIPTION_END

Function .onInit
  SetRegView 64 ; the program is a 64-bit one
  ${IfNot} ${RunningX64}
  ${OrIfNot} ${AtLeastBuild} 17763 ; Windows 10 of 2018, the oldest that Qt 6.11 runs on
    ${Refuse} "$(NeedsWindows10)"
  ${EndIf}
  SetShellVarContext current
  StrCpy $R3 "${USUAL_FOLDER}"
  ${GetParameters} $R0
  ClearErrors
  ${GetOptions} $R0 "/ALLUSERS" $R1
  ${IfNot} ${Errors}
    UserInfo::GetAccountType
    Pop $R1
    ${If} $R1 != "Admin"
      ${Refuse} "$(NeedsAdministrator)"
    ${EndIf}
    SetShellVarContext all
    StrCpy $R2 "$PROGRAMFILES64\${PROGRAM}"
  ${Else}
    StrCpy $R2 $INSTDIR
  ${EndIf}
  ReadRegStr $OldFolder SHCTX "${UNINSTALL_KEY}" "InstallLocation"
  ${If} $INSTDIR == $R3 ; no other was named with /D=
    StrCpy $INSTDIR $R2
    ${If} $OldFolder != ""
      StrCpy $INSTDIR $OldFolder
    ${EndIf}
  ${EndIf}
  ${If} $OldFolder != ""
    Call ChooseAsBefore
  ${EndIf}
FunctionEnd

; An upgrade offers the parts that were installed before.
Function ChooseAsBefore
  ${If} ${FileExists} "$DESKTOP\${PROGRAM}.lnk"
    !insertmacro SelectSection ${SecDesktop}
  ${EndIf}
  ${IfNot} ${FileExists} "$SMPROGRAMS\${PROGRAM}.lnk"
    !insertmacro UnselectSection ${SecStartMenu}
  ${EndIf}
  ReadRegStr $R0 SHCTX "Software\RegisteredApplications" "${PROGRAM}"
  ${If} $R0 == ""
    !insertmacro UnselectSection ${SecOpenWith}
  ${EndIf}
FunctionEnd

; $R0 becomes why the chosen folder cannot be used, or empty.
Function JudgeFolder
  StrCpy $R0 ""
  StrLen $R1 $INSTDIR
  IntOp $R1 $R1 + ${PAYLOAD_LONGEST}
  IntOp $R1 $R1 + 1
  ${If} $R1 > ${LONGEST_PATH}
    StrCpy $R0 "$(TooLong)"
  ${ElseIf} $INSTDIR != $OldFolder
  ${AndIf} ${FileExists} "$INSTDIR\_internal\base_library.zip"
    StrCpy $R0 "$(AnotherProgram)" ; its files would be overwritten, and uninstalled later
  ${EndIf}
FunctionEnd

Function LeaveDirectory
  Call JudgeFolder
  ${If} $R0 != ""
    MessageBox MB_OK|MB_ICONEXCLAMATION "$R0"
    Abort
  ${EndIf}
FunctionEnd

Function CheckFolder
  Call JudgeFolder
  ${If} $R0 != ""
    ${Refuse} "$R0"
  ${EndIf}
FunctionEnd

; Has the old version's uninstaller remove what that version installed. Shortcuts stay, so that pinned ones do too.
Function RemoveOldVersion
  ${If} $OldFolder != ""
  ${AndIf} ${FileExists} "$OldFolder\uninstall.exe"
    !insertmacro WaitUntilClosed "$OldFolder"
    DetailPrint "$(RemovingOld)"
    ClearErrors
    ExecWait '"$OldFolder\uninstall.exe" /S /UPGRADE _?=$OldFolder' $R0
    ${If} ${Errors}
    ${OrIf} $R0 <> 0
      ${Refuse} "$(OldNotRemoved)"
    ${EndIf}
    ; A program that has just ended cannot be deleted at once at times: it is still being looked at.
    ${ForEach} $R1 1 50 + 1
      Delete "$OldFolder\uninstall.exe"
      ${IfNot} ${FileExists} "$OldFolder\uninstall.exe"
        ${Break}
      ${EndIf}
      Sleep 100
    ${Next}
    RMDir "$OldFolder"
  ${EndIf}
  ${IfNot} ${SectionIsSelected} ${SecStartMenu}
    Delete "$SMPROGRAMS\${PROGRAM}.lnk"
  ${EndIf}
  ${IfNot} ${SectionIsSelected} ${SecDesktop}
    Delete "$DESKTOP\${PROGRAM}.lnk"
  ${EndIf}
FunctionEnd

; Through the shell, so that it has no administrator rights when the installer has.
Function StartProgram
  Exec '"$WINDIR\explorer.exe" "$INSTDIR\lacuna.exe"'
FunctionEnd

Function un.onInit
  SetRegView 64
  SetShellVarContext current
  ReadRegStr $R0 SHCTX "${UNINSTALL_KEY}" "InstallLocation"
  ReadRegStr $R1 HKLM "${UNINSTALL_KEY}" "InstallLocation"
  ${If} $R1 == $INSTDIR
    UserInfo::GetAccountType
    Pop $R2
    ${If} $R2 != "Admin"
      ${GetParameters} $R3
      ExecShell "runas" "$INSTDIR\uninstall.exe" "$R3"
      Quit
    ${EndIf}
    SetShellVarContext all
  ${ElseIf} $R0 != $INSTDIR
    ${Refuse} "$(NotInstalledHere)" ; a copy of this file elsewhere must not delete files of the same names
  ${EndIf}
  !insertmacro WaitUntilClosed "$INSTDIR"
FunctionEnd

Section "Uninstall"
  SetOutPath "$TEMP" ; a folder that is in use could not be removed
  SetDetailsPrint none
  ClearErrors
  !insertmacro RemoveFiles
  ${If} ${Errors}
    ${Refuse} "$(NotAllRemoved)"
  ${EndIf}
  !insertmacro RemoveFolders ; those that are empty
  !insertmacro RemoveAssociations
  ${GetParameters} $R0
  ClearErrors
  ${GetOptions} $R0 "/UPGRADE" $R1
  ${If} ${Errors}
    Delete "$SMPROGRAMS\${PROGRAM}.lnk"
    Delete "$DESKTOP\${PROGRAM}.lnk"
    DeleteRegKey SHCTX "${UNINSTALL_KEY}"
    DeleteRegKey /ifempty SHCTX "Software\Microsoft\Windows\CurrentVersion\Uninstall"
    Delete "$INSTDIR\uninstall.exe"
    RMDir "$INSTDIR" ; stays when something of the user's is in it
  ${EndIf}
  SetErrorLevel 0
SectionEnd
